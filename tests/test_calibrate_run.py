"""The guide through a rig's calibration: what it asks for, what it keeps, and that it goes on where it was left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import imu_block, session_meta
from scipy.linalg import polar

from handcap.boards import parse_board
from handcap.calibrate.clash import require_own_markers
from handcap.calibrate.guide import FLOOR_S, PARTS, Guide, plan
from handcap.calibrate.page import Page
from handcap.calibrate.part import Part, write_part
from handcap.causes import Cause
from handcap.cli.app import main
from handcap.errors import CalibrationError, RigError
from handcap.geometry import inverse, se3, so3_log
from handcap.session import create, read_rig
from handcap.sim import rigs as virtual

DRAWING = virtual.drawn("gripper", 7)
UID = DRAWING.uids["right"]


@pytest.fixture
def guide(tmp_path: Path) -> Guide:
    return Guide.begin(tmp_path / "run", DRAWING, "R07")


def resting(folder: Path, serial: int = 7, seconds: float = 3.0) -> Path:
    """A session of a gripper that lies still; no pictures."""
    rig = virtual.drawn("gripper", serial)
    meta = session_meta().model_copy(update={"device_uids": rig.uids})
    with create(folder, meta, rig) as session, session.start_take() as take:
        for k in range(round(10 * seconds)):
            t_ns, _, _ = imu_block(k * 100_000_000, 20, 5_000_000)
            take.add_imu_si("right", t_ns, np.zeros((20, 3)), np.tile([0.0, 0.0, 9.81], (20, 1)))
    return folder


def left_by(step: str, subject: str, **changed: Any) -> Part:
    known: dict[str, Any] = {"verdict": "ok", "uid": UID, "created": "2026-03-01T09:00:00Z"}
    lens = DRAWING.cameras["right"].camera
    values: dict[str, Any] = {
        "imu": {"rate_hz": 200.0, "gyro_noise_density": 5e-5, "accel_noise_density": 7e-4},
        "camera": {"model": lens.model, "width": lens.width, "height": lens.height, "params": [*lens.params]},
        "camera-imu": {
            "device": "right",
            "T_imu_cam": DRAWING.cameras["right"].T_imu_cam.tolist(),
            "dt_imu_cam_s": 0.0,
        },
        "gripper": {"T_cam_tcp": virtual.T_CAM_TCP.tolist()},
    }
    return Part(step, subject, values=values[step], **{**known, **changed})  # type: ignore[arg-type]


def done(guide: Guide, *stems: str, **changed: Any) -> None:
    """As a step leaves it."""
    for stem in stems:
        step, _, subject = stem.rpartition("-")
        part = left_by(step, subject, **changed)
        write_part(guide.folder / PARTS, part, Page(stem, part.verdict))
    run = json.loads((guide.folder / "run.json").read_text())
    of = {"imu": "poses", "camera": "lens", "camera-imu": "mount", "gripper": "jaws"}
    for stem in stems:
        key = of[stem.rpartition("-")[0]]
        run["recordings"][key] = {"session": "s", "take": "0001", "seconds": 60.0}
    (guide.folder / "run.json").write_text(json.dumps(run))


@pytest.mark.parametrize("rig", ["head", "head-stereo", "gripper", "full"])
def test_a_whole_rig_takes_less_than_fifteen_minutes_of_work(rig: str) -> None:
    steps = plan(virtual.drawn(rig, 1))
    work_s, recorded_s = sum(step.hands_s for step in steps), sum(step.seconds for step in steps)
    print(f"{rig}: {len(steps)} recordings of {recorded_s / 60:.1f} min, {work_s / 60:.1f} min of work")
    assert work_s <= FLOOR_S
    assert all(step.words["en"] and step.words["zh"] for step in steps)


@pytest.mark.parametrize("rig", ["head", "head-stereo", "gripper", "full"])
def test_the_steps_make_every_part_that_a_rig_needs(rig: str) -> None:
    drawn = virtual.drawn(rig, 1)
    stems = [stem for step in plan(drawn) for stem in step.stems]
    wanted = [f"imu-{device}" for device in drawn.devices] + [f"gripper-{side}" for side in drawn.grippers]
    wanted += [f"{step}-{camera}" for camera in drawn.cameras for step in ("camera", "camera-imu")]
    assert sorted(stems) == sorted(wanted)


def test_a_run_goes_on_where_it_was_left(guide: Guide, tmp_path: Path) -> None:
    step = guide.progress().next_step
    assert step is not None and step.key == "still"
    guide.take(step, resting(tmp_path / "still"))
    now = Guide(guide.folder).progress()
    assert now.done == ("still",) and now.next_step is not None and now.next_step.key == "poses"
    assert now.recorded_s == pytest.approx(3.0, abs=0.01)
    done(guide, "imu-right")
    done(guide, "camera-right", "camera-imu-right")
    now = Guide(guide.folder).progress()
    assert now.done == ("still", "poses", "lens", "mount") and now.next_step is not None and now.next_step.key == "jaws"
    # A second beginning changes nothing of what is there.
    assert Guide.begin(guide.folder, virtual.drawn("gripper", 7), "R07").progress().done == now.done


def test_a_refused_part_is_asked_for_again(guide: Guide, tmp_path: Path) -> None:
    guide.take(guide.progress().steps[0], resting(tmp_path / "still"))
    done(guide, "imu-right", verdict="refused", causes=[Cause("no_pictures", measured=0.0, limit=1.0)])
    now = guide.__class__(guide.folder).progress()
    assert now.done == ("still",) and [part.stem for part in now.refused] == ["imu-right"]


def test_a_step_that_is_cut_off_leaves_the_run_as_it_was(
    guide: Guide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide.take(guide.progress().steps[0], resting(tmp_path / "still"))
    before = (guide.folder / "run.json").read_bytes()

    def cut(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("handcap.calibrate.imu.calibrate_imu", cut)
    with pytest.raises(KeyboardInterrupt):
        guide.take(guide.progress().steps[1], resting(tmp_path / "poses"))
    assert (guide.folder / "run.json").read_bytes() == before
    assert Guide(guide.folder).progress().done == ("still",)


def test_a_recording_of_another_specimen_is_refused_naming_both(guide: Guide, tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r"00000008.*00000007"):
        guide.take(guide.progress().steps[0], resting(tmp_path / "still", serial=8))
    assert guide.progress().done == ()


def test_parts_become_a_rig(guide: Guide, tmp_path: Path) -> None:
    guide.take(guide.progress().steps[0], resting(tmp_path / "still"))
    done(guide, "imu-right", "camera-right", "camera-imu-right", "gripper-right")
    assert Guide(guide.folder).progress().next_step is None
    result = Guide(guide.folder).join()
    rig = read_rig(result.outputs[0])
    assert rig.rig_id == "R07" and rig.uids == {"right": UID} and rig.valid_until == "2026-05-30T09:00:00Z"


def test_a_board_whose_markers_are_on_the_fingers_is_refused_before_a_gripper_s_camera(guide: Guide) -> None:
    cameras = [*DRAWING.cameras]
    with pytest.raises(CalibrationError, match=r"markers 0, 1 are on the right gripper's fingers") as told:
        require_own_markers(parse_board("charuco:8x6:0.05:0.0375"), DRAWING, cameras)
    assert "5x5_100" in (told.value.mend or "")
    require_own_markers(parse_board("charuco:8x6:0.05:0.0375:5x5_100"), DRAWING, cameras)
    require_own_markers(parse_board("aprilgrid:6x6:0.055:0.3"), DRAWING, cameras)
    require_own_markers(parse_board("charuco:8x6:0.05:0.0375"), virtual.drawn("full", 1), ["head_left"])


def test_another_rig_s_folder_is_not_gone_on_with(guide: Guide) -> None:
    with pytest.raises(CalibrationError, match="here 'R07' is calibrated, not 'R08'"):
        Guide.begin(guide.folder, DRAWING, "R08")
    with pytest.raises(CalibrationError, match="no calibration was begun"):
        Guide(guide.folder.parent)
    (guide.folder / "run.json").write_text('{"version": 2}')
    with pytest.raises(CalibrationError, match="cannot be read"):
        Guide(guide.folder)


def test_the_command_says_the_next_step_in_plain_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def handcap(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(["calibrate", "run", "--rig-id", "R07", "--folder", str(tmp_path / "run"), *map(str, arguments)])
        return int(left.value.code or 0), capfd.readouterr().out

    session = resting(tmp_path / "still")
    code, said = handcap("--session", session)
    assert code == 0 and "step 2 of 5" in said and "each of its six sides" in said and "--session SESSION" in said
    assert "六个面" in handcap("--lang", "zh")[1]
    code, said = handcap("--json")
    told = json.loads(said)
    assert told["summary"]["done"] == ["still"] and told["summary"]["next"] == "poses"
    # What lies still is no log of many attitudes: refused, with its cause, and asked for again.
    code, said = handcap("--session", session, "--json")
    told = json.loads(said)
    assert code == 1 and told["summary"]["refused"] == ["imu-right"] and told["summary"]["next"] == "poses"


@pytest.mark.slow
def test_the_virtual_rig_is_calibrated_from_nothing_to_in_force(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--virtual", "--virtual-rig", "gripper", "--serial", "1", "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "run", "--rig-id", "V01", "--folder", str(tmp_path / "run"), *arguments, "--json"])
    told = json.loads(capfd.readouterr().out)
    assert not left.value.code, told
    assert (
        told["summary"]["done"] == ["still", "poses", "lens", "mount", "jaws"]
        and told["summary"]["hands_on_s"] <= FLOOR_S
    )
    rig, mount = read_rig(tmp_path / "run/rig.json"), tmp_path / "run/recordings/mount/truth"
    found, true = rig.cameras["right"], read_rig(mount / "rig.json").cameras["right"]
    # imu axes are those in which the accelerometer's matrix is symmetric: turned from the truth's by its polar factor.
    matrix = np.array(json.loads((mount / "truth.json").read_text())["imus"]["right"]["accel_matrix"])
    turned = se3(polar(matrix, side="left")[0], [0.0, 0.0, 0.0])
    apart = inverse(turned @ true.T_imu_cam) @ found.T_imu_cam
    angle_deg, arm_mm = np.rad2deg(np.linalg.norm(so3_log(apart[:3, :3]))), 1e3 * np.linalg.norm(apart[:3, 3])
    offset_ms = 1e3 * (found.dt_imu_cam_s - 0.003)
    print(
        f"virtual gripper: {angle_deg:.3f}°, {arm_mm:.2f} mm, {offset_ms:.3f} ms, {found.line_delay_s / 28e-6 - 1:.2%}"
    )
    assert angle_deg <= 0.05 and arm_mm <= 2.0 and abs(offset_ms) <= 0.1
    assert abs(found.line_delay_s / 28e-6 - 1) <= 0.02
