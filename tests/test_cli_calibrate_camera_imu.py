"""`handcap calibrate camera-imu` on sessions: what is written, what is said, and what is refused before it is tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import PINHOLE, jpeg, new_session, record

from handcap import session, sim
from handcap.calibrate import read_part, write_part
from handcap.calibrate.page import Page
from handcap.calibrate.part import Part
from handcap.cli.app import main
from handcap.geometry import so3_log
from handcap.sim import rigs

CHARUCO = "charuco:8x6:0.05:0.0375"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "camera-imu", *map(str, arguments)])
    code = caught.value.code
    assert isinstance(code, int)
    return code, *capfd.readouterr()


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    """A session that shows no board."""
    with new_session(tmp_path / "s") as writer, writer.start_take() as take:
        record(take, 2.0, jpeg())
    return tmp_path / "s"


def lens_part(folder: Path, camera: str, lens: Any, **changed: Any) -> Path:
    values = {"model": lens.model, "width": lens.width, "height": lens.height, "params": list(lens.params)}
    covariance = np.diag([1e-4, 1e-4, 1e-4, 1e-4, 1e-10, 1e-10, 1e-10, 1e-10])
    part = Part("camera", camera, "ok", values=values | changed, details={"covariance": covariance})
    return write_part(folder, part, Page("lens", "ok"))[0]


def test_a_refused_calibration_leaves_its_part_and_page_and_exits_1(
    blank: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capfd, blank, "--board", CHARUCO, "--camera", "head", "--json")
    said = json.loads(out)
    assert code == 1 and not said["ok"]
    assert said["summary"]["causes"]["head"][0]["code"] == "board_seldom_seen"
    part = read_part(blank / "derived/0001/calibrate/camera-imu-head.json")
    assert part.verdict == "refused" and part.values["T_imu_cam"] is None and part.sigma["dt_imu_cam_s"] is None
    assert part.uid == "uid-1" and part.created == "2026-01-01T00:00:00Z"
    page = (blank / "derived/0001/calibrate/camera-imu-head.html").read_text()
    assert "Refused" in page and "Keep the whole board in view" in page


def test_a_second_run_gives_the_same_bytes(blank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    written = []
    for name in ("a", "b"):
        run(capfd, blank, "--board", CHARUCO, "--camera", "head", "--out", tmp_path / name)
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1] and len(written[0]) == 2


def test_causes_are_told_in_chinese(blank: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, blank, "--board", CHARUCO, "--camera", "head", "--lang", "zh")
    assert code == 1 and "头部相机只有 0 张画面清楚看到标定板" in out and "标定不合格" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--board", "charuco:8x6"], "sizes"),
        (["--board", CHARUCO, "--camera", "left_eye"], "no camera 'left_eye'"),
        (["--board", CHARUCO, "--take", "0007"], "0007"),
        (["--board", CHARUCO, "--lens", "nowhere.json"], "no such part"),
        (["--board", CHARUCO, "--imu", "nowhere.json"], "no such part"),
    ],
)
def test_what_cannot_be_tried_is_an_error_that_names_it(
    blank: Path, capfd: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    code, _, err = run(capfd, blank, *options)
    assert code == 1 and words in err and "→" in err
    assert not (blank / "derived").exists()


def test_a_lens_of_another_picture_size_is_an_error(
    blank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    part = lens_part(tmp_path / "lens", "head", PINHOLE, width=128)
    code, _, err = run(capfd, blank, "--board", CHARUCO, "--camera", "head", "--lens", part)
    assert code == 1 and "64×48" in err and "128×48" in err


def test_a_damaged_lens_part_is_an_error(blank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    part = lens_part(tmp_path / "lens", "head", PINHOLE, params=[1.0, 2.0])
    code, _, err = run(capfd, blank, "--board", CHARUCO, "--camera", "head", "--lens", part)
    assert code == 1 and "no whole lens" in err


@pytest.mark.slow
def test_a_rendered_take_gives_the_true_mount_and_mirrored_pictures_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    params = sim.SimulationParams(task="charuco", line_delay_s=3e-5, scatter=rigs.PRINTED)
    folder = sim.simulate(tmp_path / "s", scene="bench", seconds=12.0, seed=8, dt_imu_cam_s=0.006, params=params)
    true = session.read_rig(folder / "truth/rig.json").cameras["head"]
    lens = lens_part(tmp_path / "lens", "head", true.camera)
    code, out, _ = run(capfd, folder, "--board", CHARUCO, "--lens", lens)
    assert code == 0, out
    part = read_part(folder / "derived/0001/calibrate/camera-imu-head.json")
    T = np.array(part.values["T_imu_cam"])
    turn, shift = so3_log(T[:3, :3].T @ true.T_imu_cam[:3, :3]), true.T_imu_cam[:3, 3] - T[:3, 3]
    assert np.rad2deg(np.linalg.norm(turn)) <= 0.05 and np.linalg.norm(shift) <= 0.002
    assert abs(part.values["dt_imu_cam_s"] - 0.006) <= 1e-4
    assert abs(part.values["line_delay_s"] - 3e-5) <= 0.02 * 3e-5
    mirrored = mirrored_copy(folder, tmp_path / "mirrored")
    code, out, _ = run(capfd, mirrored, "--board", CHARUCO, "--lens", lens)
    assert code == 1 and "are mirrored" in out


def mirrored_copy(folder: Path, out: Path) -> Path:
    """The same session from a camera that flips its pictures."""
    import cv2

    whole = session.read(folder)
    take = whole.take("0001")
    with session.create(out, whole.meta, whole.rig) as writer, writer.start_take() as copy:
        samples = take.imu("head")
        R_chip_imu = whole.rig.devices["head"].R_imu_chip.T
        copy.add_imu_si("head", samples.t_ns, samples.gyro_imu @ R_chip_imu.T, samples.accel_imu @ R_chip_imu.T)
        for frame in take.frames("head"):
            data = cv2.imencode(".jpg", np.ascontiguousarray(frame.image[:, ::-1]))[1].tobytes()
            copy.add_image("head", frame.t_ns, data, "jpeg")
    return out
