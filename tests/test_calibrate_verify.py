"""Ten seconds of a rig: what is in force stays so, what was changed is named, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap import session, sim
from handcap.calibrate.gripper.record import EncoderHealth, JawRecord
from handcap.calibrate.verify.board import look_at_board, with_lens
from handcap.calibrate.verify.checks import Check, CheckParams, CheckRecord, check_rig, overall
from handcap.calibrate.verify.rest import longest_rest
from handcap.calibrate.verify.stage import causes_of
from handcap.cli.app import main
from handcap.clock import nanoseconds, to_imu_clock
from handcap.geometry import GRAVITY_M_S2, Array, se3, se3_exp
from handcap.measure.fingers import FingerSights
from handcap.sim.check_series import BOARD, record_check
from handcap.types import CameraSigma, Gripper, ImuSamples, MountedCamera, Rig, Tag

DT_S = 0.004
PARTS = "head+right"
SHARP = CameraSigma(rotation_rad=5e-4, position_m=1e-3, focal=3e-4, centre_px=0.1)


@cache
def checked(seed: int) -> tuple[Rig, CheckRecord]:
    """A rig whose calibration is exact and known to be good, and what it gave."""
    series = record_check(PARTS, seed, seconds=16.0, dt_imu_cam_s=DT_S)
    jaws = {
        side: JawRecord(
            to_imu_clock(seen.camera_t_ns, DT_S),
            FingerSights(seen.picture, seen.tag, seen.px),
            seen.readings,
            EncoderHealth(sent=len(seen.readings)),
        )
        for side, seen in series.fingers.items()
    }
    cameras = {name: replace(m, sigma=SHARP, dt_sigma_s=1e-4) for name, m in series.true.cameras.items()}
    return replace(series.true, cameras=cameras), CheckRecord(series.views, series.imu, jaws)


def off(checks: list[Check]) -> set[tuple[str, str]]:
    return {(check.kind, check.subject) for check in checks if check.state in ("drifting", "recalibrate")}


def test_an_untouched_rig_is_in_force_and_nothing_is_left_unchecked() -> None:
    for seed in range(2):
        rig, record = checked(seed)
        checks = check_rig(rig, record, BOARD)
        assert overall(checks) == "in force", [check for check in checks if check.state != "in force"]
        assert causes_of(checks, CheckParams()) == []
        assert {check.subject for check in checks} == {"head", "right"}


def test_numbers_are_told_as_well_as_they_say() -> None:
    params = CheckParams(camera=CameraSigma(1e-9, 1e-9, 1e-9, 1e-9), offset_s=1e-9)
    ratios: list[float] = []
    for seed in range(2):
        rig, record = checked(seed)
        bare = {name: replace(mount, sigma=None, dt_sigma_s=None) for name, mount in rig.cameras.items()}
        checks = check_rig(replace(rig, cameras=bare), record, BOARD, params=params)
        ratios += [check.sigmas for check in checks if check.kind in ("focal", "offset")]
    assert len(ratios) == 8
    assert 0.2 < np.sqrt(np.mean(np.square(ratios))) < 1.6


def _camera(name: str, change: Callable[[MountedCamera], MountedCamera]) -> Callable[[Rig], Rig]:
    return lambda rig: replace(rig, cameras={**rig.cameras, name: change(rig.cameras[name])})


def _turned(mount: MountedCamera) -> MountedCamera:
    return replace(mount, T_imu_cam=mount.T_imu_cam @ se3_exp([0.0, np.deg2rad(0.5), 0.0, 0.0, 0.0, 0.0]))


def _bent(lens: list[float]) -> Callable[[MountedCamera], MountedCamera]:
    return lambda mount: replace(mount, camera=with_lens(mount.camera, np.array(lens)))


def _gripper(change: Callable[[Gripper], Gripper]) -> Callable[[Rig], Rig]:
    return lambda rig: replace(rig, grippers={side: change(gripper) for side, gripper in rig.grippers.items()})


def _slipped(gripper: Gripper) -> Gripper:
    assert gripper.encoder is not None
    return replace(gripper, encoder=replace(gripper.encoder, zero_rad=gripper.encoder.zero_rad + 0.05))


def _tags(change: Callable[[Tag], Tag]) -> Callable[[Gripper], Gripper]:
    def moved(gripper: Gripper) -> Gripper:
        return replace(gripper, tags=tuple(tag if tag.body == "tcp" else change(tag) for tag in gripper.tags))

    return moved


def _slid(tag: Tag) -> Tag:
    aside = 5e-4 if tag.body == "finger_b" else -5e-4
    return replace(tag, T_body_tag=se3(np.eye(3), [aside, 0.0, 0.0]) @ tag.T_body_tag)


CHANGED: dict[str, tuple[tuple[str, str], Callable[[Rig], Rig]]] = {
    "a head camera turned by half a degree": (("mount", "head"), _camera("head", _turned)),
    "a gripper's camera turned by half a degree": (("mount", "right"), _camera("right", _turned)),
    "a focal length one percent off": (("focal", "head"), _camera("head", _bent([0.01, 0.0, 0.0]))),
    "a centre five pixels off": (("centre", "right"), _camera("right", _bent([0.0, 5.0, 0.0]))),
    "a clock three milliseconds off": (
        ("offset", "head"),
        _camera("head", lambda mount: replace(mount, dt_imu_cam_s=mount.dt_imu_cam_s - 0.003)),
    ),
    "an encoder's zero moved": (("jaw_encoder", "right"), _gripper(_slipped)),
    "finger tags moved by half a millimetre": (("jaw_tags", "right"), _gripper(_tags(_slid))),
    "finger tags of another scale": (
        ("tag_size", "right"),
        _gripper(_tags(lambda tag: replace(tag, size_m=tag.size_m * 0.9))),
    ),
}


@pytest.mark.parametrize("changed", CHANGED)
def test_what_was_changed_is_named_and_nothing_else(changed: str) -> None:
    expected, change = CHANGED[changed]
    rig, record = checked(1)
    checks = check_rig(change(rig), record, BOARD)
    assert off(checks) == {expected}
    (cause,) = causes_of(checks, CheckParams())
    assert cause.code == f"check_{expected[0]}" and cause.text("zh")


def _spoiled(record: CheckRecord, gyro: Callable[[Array], Array], accel: Callable[[Array], Array]) -> CheckRecord:
    head = record.imu["head"]
    bad = ImuSamples(head.t_ns, gyro(head.gyro_imu), accel(head.accel_imu))
    return replace(record, imu={**record.imu, "head": bad})


def test_a_motion_sensor_that_is_off_is_named_and_the_camera_beside_it_is_not() -> None:
    rig, record = checked(1)
    rng = np.random.default_rng(0)

    def same(x: Array) -> Array:
        return x

    for kind, bad in (
        ("gyro_bias", _spoiled(record, lambda gyro: gyro + [0.08, 0.0, 0.0], same)),
        ("accel_noise", _spoiled(record, same, lambda accel: accel + rng.normal(0, 5e-2, accel.shape))),
        ("gravity", _spoiled(record, same, lambda accel: 1.06 * accel)),
    ):
        assert off(check_rig(rig, bad, BOARD)) == {(kind, "head")}


def test_what_was_not_shown_is_not_checked_and_said() -> None:
    rig, record = checked(1)
    blind = replace(record, views={"head": record.views["head"]}, jaws={})
    checks = check_rig(rig, blind, BOARD)
    assert overall(checks) == "not checked" and off(checks) == set()
    causes = causes_of(checks, CheckParams())
    assert {(cause.code, cause.body) for cause in causes} == {
        ("check_unseen", "right"),
        ("check_jaws_open", "right_tcp"),
    }
    moved = ImuSamples(record.imu["head"].t_ns, record.imu["head"].gyro_imu + 0.0, record.imu["head"].accel_imu + 0.0)
    shaken = replace(record, imu={**record.imu, "head": _shaken(moved)})
    codes = {cause.code for cause in causes_of(check_rig(rig, shaken, BOARD), CheckParams())}
    assert codes == {"check_not_still"}


def _shaken(imu: ImuSamples) -> ImuSamples:
    sway = 0.1 * np.sin(2 * np.pi * 0.7 * (imu.t_ns - imu.t_ns[0]) / 1e9)
    return ImuSamples(imu.t_ns, imu.gyro_imu + sway[:, None], imu.accel_imu)


@settings(max_examples=20)
@given(st.floats(1e-4, 1e-3), st.floats(1e-3, 1e-2), st.integers(0, 2**32 - 1))
def test_a_rest_tells_the_noise_that_was_put_in(gyro: float, accel: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, rate_hz = 900, 200.0
    white = rng.standard_normal((2, n, 3)) * np.sqrt(rate_hz)
    up = np.array([0.0, 0.0, GRAVITY_M_S2])
    bias = rng.uniform(-0.02, 0.02, 3)
    imu = ImuSamples(nanoseconds(np.arange(n) / rate_hz), bias + gyro * white[0], up + accel * white[1])
    rest = longest_rest(imu)
    assert rest is not None
    assert rest.gyro_density == pytest.approx(gyro, rel=0.15)
    assert rest.accel_density == pytest.approx(accel, rel=0.15)
    assert np.abs(rest.gyro_bias - bias).max() < 5 * gyro * np.sqrt(rate_hz / rest.samples)


def test_a_lens_is_measured_where_it_is_whatever_was_told() -> None:
    rig, record = checked(0)
    camera = rig.cameras["head"].camera
    alone = [
        look_at_board(record.views["head"], BOARD, with_lens(camera, np.array(lens)))
        for lens in ([0.0, 0.0, 0.0], [0.01, 3.0, -2.0])
    ]
    assert alone[0] is not None and alone[1] is not None
    np.testing.assert_allclose(alone[1].camera.params, alone[0].camera.params, rtol=1e-4)


@pytest.mark.slow
def test_a_rendered_check_is_in_force_and_a_changed_rig_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    params = sim.SimulationParams(task="check")
    folder = sim.simulate(tmp_path / "s", scene="bench", rig="gripper", seconds=10.0, seed=2, params=params)
    command = ["calibrate", "verify", str(folder), "--board", "charuco:8x6:0.05:0.0375", "--json"]
    outputs: list[bytes] = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
        told = json.loads(capfd.readouterr().out)
        assert told["summary"]["state"] == "in force" and told["summary"]["off"] == {}
        outputs.append(Path(told["outputs"][0]).read_bytes())
    assert outputs[0] == outputs[1]
    rig = session.read_rig(folder / "rig.json")
    session.write_rig(tmp_path / "other.json", _gripper(_slipped)(rig))
    with pytest.raises(SystemExit) as ended:
        main([*command, "--rig", str(tmp_path / "other.json"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    told = json.loads(capfd.readouterr().out)
    assert list(told["summary"]["off"]) == ["jaw_encoder-right"]
    assert "recalibrate" in (tmp_path / "out/verify-rig.html").read_text()
