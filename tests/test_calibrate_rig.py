"""Parts of one rig become its rig.json; what does not belong together is refused, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap.calibrate.history import changes, changes_of_part, history_chart, history_table, trends, worst
from handcap.calibrate.join import GivenPart, Joined, JoinParams, Wishes, given_parts, join
from handcap.calibrate.page import Page
from handcap.calibrate.part import Part, write_part
from handcap.calibrate.rig import calibrate_rig
from handcap.causes import Cause
from handcap.cli.app import main
from handcap.clock import parse_utc
from handcap.errors import CalibrationError
from handcap.geometry import inverse, se3, se3_exp, so3_exp
from handcap.session.rig_file import read_rig, write_rig
from handcap.sim import rigs as virtual
from handcap.types import Rig

DRAWING = virtual.drawn("full", 7)
LENS = DRAWING.cameras["head_left"].camera
TURNED = se3(so3_exp([0.01, -0.02, 0.005]), [0.001, 0.0, -0.001])
SIGMA_POSE = {"rotation_rad": [2e-4, 2e-4, 2e-4], "position_m": [5e-4, 5e-4, 5e-4]}
UIDS = DRAWING.uids


def camera_part(camera: str, fx: float | None = None, **changed: Any) -> Part:
    lens = DRAWING.cameras[camera].camera
    params = [lens.params[0] if fx is None else fx, *lens.params[1:]]
    values = {"model": lens.model, "width": lens.width, "height": lens.height, "params": params}
    sigma = {"params": [0.05, 0.05, 0.08, 0.08, 1e-3, 1e-3, 1e-3, 1e-3]}
    return part("camera", camera, values, sigma, **{"details": {"covariance": np.eye(8).tolist()}, **changed})


def mount_part(camera: str, **changed: Any) -> Part:
    mount = DRAWING.cameras[camera]
    values = {
        "device": mount.device,
        "T_imu_cam": (mount.T_imu_cam @ TURNED).tolist(),
        "dt_imu_cam_s": 0.0031,
        "line_delay_s": 28e-6,
    }
    return part("camera-imu", camera, values, {**SIGMA_POSE, "dt_imu_cam_s": 5e-5, "line_delay_s": 2e-7}, **changed)


def imu_part(device: str, **changed: Any) -> Part:
    noise = {"gyro_noise_density": 5e-5, "accel_noise_density": 7e-4, "gyro_random_walk": 2e-6}
    values: dict[str, Any] = {"rate_hz": 199.0, **noise, "accel_random_walk": 3e-5}
    matrix = np.eye(3) + 0.003
    values |= {"accel_matrix": matrix.tolist(), "gyro_matrix": matrix.tolist(), "gyro_g_sensitivity": None}
    values |= {"accel_bias": [0.1, 0.0, -0.1], "gyro_bias": [0.001, 0.0, 0.0]}
    return part("imu", device, values, {key: value / 50 for key, value in noise.items()}, **changed)


def gripper_part(side: str, **changed: Any) -> Part:
    tags = [
        {"family": t.family, "id": t.id, "size_m": t.size_m, "body": t.body, "T_body_tag": t.T_body_tag.tolist()}
        for t in virtual.tags(side)  # type: ignore[arg-type]
    ]
    encoder = {"metres_per_rad": 0.0201, "zero_rad": 0.61, "eccentricity_rad": 0.004, "eccentricity_phase_rad": 1.0,
               "noise_rad": 3e-4}  # fmt: skip
    T_cam_tcp = (virtual.T_CAM_TCP @ TURNED).tolist()
    sigma = {"T_cam_tcp": SIGMA_POSE, "encoder": {"metres_per_rad": 1e-5, "zero_rad": 1e-4}, "tags": None}
    return part("gripper", side, {"T_cam_tcp": T_cam_tcp, "encoder": encoder, "tags": tags}, sigma, **changed)


def stereo_part(off: list[float] | None = None, **changed: Any) -> Part:
    a, b = (DRAWING.cameras[name].T_imu_cam @ TURNED for name in ("head_left", "head_right"))
    T_a_b = inverse(a) @ b @ se3_exp(off or [0.0] * 6)
    return part("stereo", "head_left+head_right", {"T_a_b": T_a_b.tolist()}, SIGMA_POSE, **changed)


def part(step: Any, subject: str, values: Any, sigma: Any, **changed: Any) -> Part:
    device = subject if step in ("imu", "gripper") else "head" if subject.startswith("head") else subject
    known: dict[str, Any] = {"uid": UIDS[device], "created": "2026-03-01T09:00:00Z", "inputs": {"seg": "ab" * 32}}
    known |= {"verdict": "ok", "conditions": {"celsius": 21.0}}
    return Part(step, subject, values=values, sigma=sigma, **{**known, **changed})


def all_parts() -> list[Part]:
    cameras = [*DRAWING.cameras]
    return [
        *map(camera_part, cameras),
        *map(mount_part, cameras),
        *map(imu_part, DRAWING.devices),
        *map(gripper_part, ("left", "right")),
        stereo_part(),
    ]


def joined(parts: list[Part], base: Rig | None = DRAWING, wishes: Wishes | None = None, **params: float) -> Joined:
    given_ones = [GivenPart(one, f"{one.stem}.json", f"{k:064x}") for k, one in enumerate(parts)]
    return join(given_ones, base, wishes, JoinParams(**params))


def without(stem: str, *instead: Part) -> list[Part]:
    return [one for one in all_parts() if one.stem != stem] + [*instead]


@settings(max_examples=15)
@given(st.permutations(all_parts()))
def test_a_rig_is_the_same_in_whatever_order_its_parts_come(parts: list[Part]) -> None:
    known = {one.stem: f"{k:064x}" for k, one in enumerate(all_parts())}
    shuffled = join([GivenPart(one, one.stem, known[one.stem]) for one in parts], DRAWING)
    assert shuffled.verdict == "ok"
    ordered = join([GivenPart(one, one.stem, known[one.stem]) for one in all_parts()], DRAWING)
    assert shuffled.rig.provenance == ordered.rig.provenance
    assert shuffled.rig.cameras["head_left"].camera == ordered.rig.cameras["head_left"].camera


def test_every_number_of_the_parts_is_in_the_rig(tmp_path: Path) -> None:
    write_rig(tmp_path / "rig.json", joined(all_parts(), wishes=Wishes("R07", "ann", {"lens_head": "A1"})).rig)
    rig = read_rig(tmp_path / "rig.json")
    assert (rig.rig_id, rig.assigned_to, rig.serials) == ("R07", "ann", {"lens_head": "A1"})
    assert rig.valid_until == "2026-05-30T09:00:00Z" and rig.provenance["created"] == "2026-03-01T09:00:00Z"
    assert rig.uids == UIDS
    head = rig.cameras["head_left"]
    assert head.camera == LENS and head.dt_imu_cam_s == 0.0031 and head.dt_sigma_s == 5e-5
    assert head.line_delay_s == 28e-6
    np.testing.assert_allclose(head.T_imu_cam, DRAWING.cameras["head_left"].T_imu_cam @ TURNED, atol=1e-12)
    assert head.sigma is not None and np.isclose(head.sigma.rotation_rad, 2e-4)
    assert np.isclose(head.sigma.position_m, 5e-4)
    assert np.isclose(head.sigma.focal, 0.05 / LENS.params[0], rtol=1e-2) and np.isclose(head.sigma.centre_px, 0.08)
    assert rig.devices["left"].imu.gyro_noise_density == 5e-5 and rig.devices["left"].imu.rate_hz == 199.0
    np.testing.assert_allclose(rig.devices["head"].R_imu_chip, DRAWING.devices["head"].R_imu_chip, atol=1e-12)
    calibration = rig.devices["left"].calibration
    assert calibration is not None and calibration.sigma is None and np.allclose(calibration.accel_matrix[0, 1], 0.003)
    left = rig.grippers["left"]
    assert left.encoder is not None and left.encoder.metres_per_rad == 0.0201 and len(left.tags) == 7
    told = rig.provenance["parts"]["camera-head_left"]
    assert told["inputs"] == {"seg": "ab" * 32} and told["conditions"] == {"celsius": 21.0}
    assert told["covariance"] == np.eye(8).tolist() and told["sigma"]["params"][0] == 0.05


def test_a_rig_without_a_drawing_is_joined_from_its_parts_alone() -> None:
    rig = joined([p for p in all_parts() if "right" not in p.subject], None, Wishes("R08")).rig
    assert [*rig.cameras] == ["head_left", "left"] and rig.uids == {"head": UIDS["head"], "left": UIDS["left"]}


cause = Cause("no_pictures", measured=0.0, limit=1.0)
other = "virtual-head-00000099"


@pytest.mark.parametrize(
    ("parts", "says", "mend"),
    [
        (lambda: without("camera-left", camera_part("left", verdict="refused", causes=[cause])), "is refused", "again"),
        (lambda: [*all_parts(), camera_part("left", fx=212.5)], "2 parts say camera-left", "give one"),
        (lambda: without("camera-left", camera_part("left", uid=other)), other, "one rig only"),
        (lambda: without("imu-head", imu_part("head", uid=other)), UIDS["head"], "one rig only"),
        (lambda: without("camera-left"), "no camera part for left", "handcap calibrate camera"),
        (lambda: without("camera-imu-left"), "no camera-imu part for left", "handcap calibrate camera-imu"),
        (lambda: without("imu-right"), "no imu part for right", "handcap calibrate imu"),
        (lambda: without("gripper-left"), "no gripper part for left", "handcap calibrate gripper"),
        (lambda: without("imu-left", imu_part("left", created="2025-11-01T00:00:00Z")), "120 days", "calibrate imu"),
        (lambda: without("stereo-head_left+head_right", stereo_part([0, 0.02, 0, 0, 0, 0])), "disagree", "moved"),
        (lambda: without("stereo-head_left+head_right", stereo_part([0, 0, 0, 0.01, 0, 0])), "10.0 mm", "moved"),
        (lambda: without("imu-head", part("imu", "head", {"rate_hz": "fast"}, {})), "values are not those", "again"),
        (lambda: without("camera-left", part("camera", "left", {"model": "omni"}, {})), "values are not", "again"),
        (lambda: without("gripper-left", part("gripper", "left", {"encoder": {"a": 1}}, {})), "not those", "again"),
    ],
)  # fmt: skip
def test_what_does_not_make_a_rig_is_refused(parts: Callable[[], list[Part]], says: str, mend: str) -> None:
    with pytest.raises(CalibrationError) as told:
        joined(parts())
    assert says in str(told.value) and mend in (told.value.mend or "")


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(CalibrationError) as told:
        joined([camera_part("left")])
    assert told.value.what.count("no ") == 3 + 3 + 4 + 2  # imu, cameras without a lens, mounts, grippers
    assert (told.value.mend or "").count("run `handcap calibrate") == 4


def test_a_part_of_what_the_rig_does_not_have_is_refused() -> None:
    with pytest.raises(CalibrationError, match="the base has no left"):
        joined([*[p for p in all_parts() if "right" not in p.subject]], virtual.drawn("head-stereo", 7))


def test_a_refused_part_gives_way_to_a_good_one_and_is_told_of() -> None:
    refused = camera_part("left", fx=100.0, verdict="refused", causes=[cause])
    told = joined([refused, *all_parts()])
    assert told.verdict == "partial" and [c.code for c in told.causes] == ["part_left_out"]
    assert told.rig.cameras["left"].camera.params[0] == DRAWING.cameras["left"].camera.params[0]


def test_reservations_of_a_part_are_those_of_the_rig() -> None:
    told = joined(without("imu-left", imu_part("left", verdict="partial", causes=[cause])))
    assert told.verdict == "partial" and told.causes[0].body == "imu-left"


def test_what_an_imu_part_does_not_know_is_the_drawing_s_and_is_told_of() -> None:
    values = {**imu_part("left").values, "gyro_random_walk": None}
    told = joined(without("imu-left", replace(imu_part("left"), values=values)))
    assert [c.code for c in told.causes] == ["part_nominal"]
    assert told.rig.devices["left"].imu.gyro_random_walk == DRAWING.devices["left"].imu.gyro_random_walk
    assert told.rig.provenance["parts"]["imu-left"]["nominal"] == ["gyro_random_walk"]


def test_nominal_values_are_taken_where_somebody_asks_for_them() -> None:
    told = joined(without("imu-left"), wishes=Wishes(nominal=["imu-left"]))
    assert told.rig.devices["left"].imu == DRAWING.devices["left"].imu and told.verdict == "partial"
    with pytest.raises(CalibrationError, match="no part 'imu-lefd'"):
        joined(without("imu-left"), wishes=Wishes(nominal=["imu-lefd"]))


def test_an_earlier_calibration_lends_the_parts_that_were_not_made_again() -> None:
    before = joined(all_parts()).rig
    again = joined([camera_part("left", fx=213.0, created="2026-04-01T00:00:00Z")], before)
    assert again.rig.cameras["left"].camera.params[0] == 213.0
    assert again.rig.valid_until == before.valid_until  # its other parts are no younger for it
    assert [c.code for c in again.causes] == ["part_with_other_lens"]
    assert [*again.rig.provenance["parts"]] == [*before.provenance["parts"]]


def test_parts_without_a_date_are_told_of_and_set_no_limit() -> None:
    parts = [replace(one, created=None) for one in all_parts()]
    told = joined(parts)
    assert told.rig.valid_until is None and {c.code for c in told.causes} == {"part_undated"}


def test_changes_are_told_in_sigmas() -> None:
    before = joined(all_parts()).rig
    now = joined(without("camera-left", camera_part("left", fx=212.4 + 0.05 * np.sqrt(2) * 4)), DRAWING).rig
    assert [(c.stem, c.name) for c in changes(now, before) if c.sigmas and c.sigmas > 0.1] == [("camera-left", "fx")]
    most = worst(changes(now, before))
    assert most is not None and np.isclose(most.sigmas or 0, 4.0, atol=1e-6) and np.isclose(most.off, 0.2828, atol=1e-3)
    moved = replace(mount_part("left"), values={**mount_part("left").values, "dt_imu_cam_s": 0.0036})
    told = {c.name: c for c in changes_of_part(moved, before)}
    assert np.isclose(told["clock offset"].off, 0.5) and np.isclose(told["clock offset"].sigmas or 0, 7.07, atol=0.01)
    assert told["rotation"].off < 1e-6 and {c.stem for c in told.values()} == {"camera-imu-left"}


def test_a_trend_is_a_change_in_thirty_days() -> None:
    def at(day: int) -> Rig:
        created = f"2026-03-{1 + day:02d}T00:00:00Z"
        return joined(
            [replace(p, created=created) for p in without("camera-left", camera_part("left", 212.4 + 0.01 * day))]
        ).rig

    rigs = [at(day) for day in (0, 10, 20, 30)]
    dated = [(parse_utc(rig.provenance["created"]), rig) for rig in rigs]
    assert np.isclose(trends(rigs[-1], dated[:-1])[("camera-left", "fx")], 0.3)
    table = history_table(rigs[-1], dated[:-1])
    row = next(row for row in table.rows if row[:2] == ("camera-left", "fx"))
    assert row[2] == "+0.1 px" and row[4] == "+0.3 px"
    assert history_chart(rigs[-1], dated[:-1]) is not None and history_chart(rigs[0], []) is None


def write_all(folder: Path) -> None:
    for one in all_parts():
        write_part(folder, one, Page(one.stem, one.verdict))


def test_the_step_writes_the_same_rig_and_page_twice(tmp_path: Path) -> None:
    write_all(tmp_path / "parts")
    (tmp_path / "parts" / "verify-head.json").write_text(
        json.dumps({"version": 1, "step": "verify", "subject": "head", "verdict": "ok"})
    )
    assert len(given_parts([tmp_path / "parts"])) == len(all_parts())
    write_rig(tmp_path / "drawing.json", DRAWING)
    before = [(parse_utc("2026-02-01"), joined([replace(p, created="2026-02-01") for p in all_parts()]).rig)]
    for name in ("a", "b"):
        calibrate_rig(
            [tmp_path / "parts"], tmp_path / name / "rig.json", base=tmp_path / "drawing.json", earlier=before
        )
    for file in ("rig.json", "rig.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    page = (tmp_path / "a" / "rig.html").read_text()
    assert "Against earlier calibrations" in page and "<svg" in page


def test_the_command_joins_and_says_what_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_all(tmp_path / "parts")
    write_rig(tmp_path / "drawing.json", DRAWING)
    (tmp_path / "parts" / "imu-head.json").unlink()
    command = ["calibrate", "rig", tmp_path / "parts", "--base", tmp_path / "drawing.json", "--json"]
    command += ["--out", tmp_path / "rig.json", "--store", tmp_path / "store"]
    code, told = handcap(capfd, *command)
    assert code == 1 and told["error"]["what"] == "no imu part for head"
    assert "handcap calibrate imu" in told["error"]["mend"] and not (tmp_path / "rig.json").exists()
    code, told = handcap(capfd, *command, "--nominal", "imu-head")
    assert code == 0 and told["summary"]["verdict"] == "partial" and read_rig(tmp_path / "rig.json").uids == UIDS


def handcap(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    return int(left.value.code or 0), json.loads(capfd.readouterr().out)
