"""Camera and motion sensor before a board: the truth comes back, and each way to spoil a take has its name.

Takes are at the level of corners (`sim/corners.py`): motion, clocks, shutters and sensors of the virtual rig, and a
detector's noise as rendered takes showed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.boards import Board, BoardViews, CharucoBoard
from handcap.calibrate.camera_imu import CameraImu, CameraImuParams, Lens, calibrate_mounts
from handcap.calibrate.camera_imu.arrow import LOCAL, SIZE, Arrow, Factor, Rows
from handcap.calibrate.camera_imu.excitation import SHIFTS, TURNS, Excitation, ExcitationParams, missing
from handcap.calibrate.camera_imu.spline import PoseSpline
from handcap.geometry import Array, se3, so3_exp, so3_log
from handcap.sim import SimulationParams, rigs
from handcap.sim.corners import CornerTake, corner_take
from handcap.types import ImuSamples, MountedCamera, Stamps

LINE_DELAY_S, DT_S = 3e-5, 0.0073
HALF_NS = 7_000_000_000  # of a take of 12 s whose pictures begin at 1 s
PARAMS = SimulationParams(camera_rate_hz=10.0, line_delay_s=LINE_DELAY_S, scatter=rigs.PRINTED)
turns = hnp.arrays(float, (12, 3), elements=st.floats(-0.2, 0.2, allow_subnormal=False))


def lens(mount: MountedCamera, drawn: MountedCamera, focal: float = 1e-4, centre_px: float = 0.05) -> Lens:
    """The true lens on the drawn mount, and how well it is said to be known."""
    spread = np.zeros((8, 3))
    spread[:2, 0], spread[2, 1], spread[3, 2] = mount.camera.focal_px * focal, centre_px, centre_px
    return Lens(replace(drawn, camera=mount.camera), spread)


def lenses(take: CornerTake) -> dict[str, Lens]:
    return {name: lens(mount, take.drawn.cameras[name]) for name, mount in take.rig.cameras.items()}


def calibrated(
    take: CornerTake,
    imu: ImuSamples | None = None,
    views: BoardViews | None = None,
    board: Board | None = None,
    known: dict[str, Lens] | None = None,
    params: CameraImuParams = CameraImuParams(),  # noqa: B008
) -> CameraImu:
    seen = take.views if views is None else {"head": views}
    model = take.rig.devices["head"].imu
    return calibrate_mounts(board or take.board, seen, known or lenses(take), imu or take.imu["head"], model, params)


@pytest.fixture(scope="module")
def good() -> CornerTake:
    return corner_take("head", seconds=12.0, seed=3, dt_imu_cam_s=DT_S, params=PARAMS)


def assert_true(found: CameraImu, take: CornerTake) -> None:
    """Within the floors, and within what the covariance says."""
    for name, mount in found.mounts.items():
        true = take.rig.cameras[name]
        R = mount.T_imu_cam[:3, :3]
        turn = so3_log(R.T @ true.T_imu_cam[:3, :3])
        shift = R.T @ (true.T_imu_cam[:3, 3] - mount.T_imu_cam[:3, 3])
        off = np.r_[turn, shift, true.dt_imu_cam_s - mount.dt_imu_cam_s, true.line_delay_s - mount.line_delay_s]
        assert np.rad2deg(np.abs(turn).max()) <= 0.05
        assert np.abs(shift).max() <= 0.002
        assert abs(off[6]) <= 1e-4
        assert abs(off[7]) <= 0.02 * true.line_delay_s
        assert np.all(np.abs(off) <= 4 * mount.sigma)


def test_a_good_take_gives_the_true_mount_offset_and_line_delay(good: CornerTake) -> None:
    found = calibrated(good)
    assert found.verdict == "ok" and not found.causes
    assert_true(found, good)
    assert found.fit is not None and abs(found.fit.state.scale - 1) < 0.005
    assert calibrated(good).mounts["head"].T_imu_cam.tobytes() == found.mounts["head"].T_imu_cam.tobytes()


@pytest.mark.slow
def test_two_cameras_of_one_device_are_solved_together() -> None:
    take = corner_take("head-stereo", task="aprilgrid", seconds=15.0, seed=4, dt_imu_cam_s=-0.004, params=PARAMS)
    found = calibrated(take)
    assert found.verdict == "ok" and list(found.mounts) == ["head_left", "head_right"]
    assert_true(found, take)


@pytest.mark.slow
def test_a_global_shutter_is_told_from_a_rolling_one() -> None:
    take = corner_take("head", seconds=12.0, seed=5, params=replace(PARAMS, line_delay_s=0.0))
    assert calibrated(take).mounts["head"].line_delay_s == 0.0
    rolling = corner_take("head", seconds=12.0, seed=5, params=PARAMS)
    unaware = {"head": Lens(replace(lenses(rolling)["head"].mount, line_delay_s=0.0), lenses(rolling)["head"].spread)}
    assert abs(calibrated(rolling, known=unaware).mounts["head"].line_delay_s - LINE_DELAY_S) < 0.02 * LINE_DELAY_S


# Spoiled takes: what is done to a good one, and the cause that must name it.


def imu(take: CornerTake, gyro: Array | None = None, accel: Array | None = None, t_ns: Stamps | None = None):
    was = take.imu["head"]
    return ImuSamples(
        was.t_ns if t_ns is None else t_ns,
        was.gyro_imu if gyro is None else gyro,
        was.accel_imu if accel is None else accel,
    )


def stamps(views: BoardViews, t_ns: Stamps) -> BoardViews:
    return BoardViews(t_ns, views.view, views.ids, views.px)


def later(t_ns: Stamps, by_ms: float) -> Stamps:
    """Stamps that jump in the middle of the take."""
    return t_ns + np.where(t_ns > HALF_NS, round(by_ms * 1e6), 0)


def stretched(take: CornerTake, factor: float) -> ImuSamples:
    return imu(take, t_ns=np.rint(take.imu["head"].t_ns * factor).astype(np.int64))


def lens_of(take: CornerTake, name: str) -> dict[str, Lens]:
    camera = rigs.HEADS[name]
    mount = replace(take.rig.cameras["head"], camera=camera)
    return {"head": lens(mount, take.drawn.cameras["head"])}


@dataclass(frozen=True)
class Spoiled:
    name: str
    cause: str
    found: Callable[[CornerTake], CameraImu]


AT_ONCE = [
    Spoiled("gyroscope in degrees", "gyro_unit", lambda t: calibrated(t, imu(t, np.rad2deg(t.imu["head"].gyro_imu)))),
    Spoiled("accelerometer in g", "accel_unit", lambda t: calibrated(t, imu(t, None, t.imu["head"].accel_imu / 9.8))),
    Spoiled(
        "two axes of the sensor swapped",
        "axes_mirrored",
        lambda t: calibrated(t, imu(t, t.imu["head"].gyro_imu[:, [1, 0, 2]], t.imu["head"].accel_imu[:, [1, 0, 2]])),
    ),
    Spoiled(
        "all axes of the sensor in another order",
        "axes_swapped",
        lambda t: calibrated(t, imu(t, t.imu["head"].gyro_imu[:, [1, 2, 0]], t.imu["head"].accel_imu[:, [1, 2, 0]])),
    ),
    Spoiled(
        "axes of the accelerometer in another order",
        "accel_axes",
        lambda t: calibrated(t, imu(t, None, t.imu["head"].accel_imu[:, [1, 2, 0]])),
    ),
    Spoiled(
        "accelerometer with the wrong sign",
        "accel_mirrored",
        lambda t: calibrated(t, imu(t, None, -t.imu["head"].accel_imu)),
    ),
    Spoiled(
        "a dead axis",
        "gyro_axes_unequal",
        lambda t: calibrated(t, imu(t, t.imu["head"].gyro_imu * np.array([1.0, 1.0, 0.7]))),
    ),
    Spoiled(
        "camera's clock jumps",
        "clock_jump",
        lambda t: calibrated(t, views=stamps(t.views["head"], later(t.views["head"].t_ns, 30))),
    ),
    Spoiled("sensor's clock jumps", "clock_jump", lambda t: calibrated(t, imu(t, t_ns=later(t.imu["head"].t_ns, 60)))),
    Spoiled("sensor runs 2 % slow by its stamps", "imu_rate", lambda t: calibrated(t, stretched(t, 1.02))),
    Spoiled("sensor's stamps of half the rate", "imu_rate", lambda t: calibrated(t, stretched(t, 2.0))),
    Spoiled(
        "clocks three seconds apart",
        "offset_too_large",
        lambda t: calibrated(t, imu(t, t_ns=t.imu["head"].t_ns + 1_500_000_000)),
    ),
    Spoiled("another lens", "wrong_lens", lambda t: calibrated(t, known=lens_of(t, "head-wide"))),
    Spoiled(
        "board hardly seen",
        "board_seldom_seen",
        lambda t: calibrated(t, views=t.views["head"].where(t.views["head"].view < 50)),
    ),
    Spoiled("board of twice the size", "board_size", lambda t: calibrated(t, board=CharucoBoard(8, 6, 0.1, 0.075))),
    Spoiled("another take's sensor", "turns_disagree", lambda t: calibrated(t, other_imu())),
    Spoiled(
        "board turned by 5°", "board_turned", lambda t: calibrated(pushed(se3(so3_exp([0, 0.087, 0.02]), [0, 0, 0])))
    ),
]
IN_THE_FIT = [
    Spoiled("board pushed by 3 mm", "board_moved", lambda t: calibrated(pushed(se3(np.eye(3), [0.003, 0, 0])))),
    Spoiled(
        "camera's clock jumps by 2 ms",
        "clock_jump",
        lambda t: calibrated(t, views=stamps(t.views["head"], later(t.views["head"].t_ns, 2))),
    ),
    Spoiled("clocks run apart by 0.02 %", "clock_drift", lambda t: calibrated(t, stretched(t, 1.0002))),
    Spoiled(
        "squares 2 % larger than said", "board_size", lambda t: calibrated(t, board=CharucoBoard(8, 6, 0.049, 0.0375))
    ),
    Spoiled(
        "accelerometer 2 % too strong",
        "accel_scale",
        lambda t: calibrated(t, imu(t, None, t.imu["head"].accel_imu * 1.02)),
    ),
    Spoiled(
        "an uncalibrated sensor",
        "imu_uncalibrated",
        lambda t: calibrated(t, imu(t, t.imu["head"].gyro_imu @ (np.eye(3) + 0.01 * np.eye(3)[[1, 2, 0]]))),
    ),
    Spoiled(
        "another specimen's lens",
        "wrong_lens",
        lambda t: calibrated(t, known={"head": lens(t.drawn.cameras["head"], t.drawn.cameras["head"])}),
    ),
]


def pushed(T_board_moved: Array) -> CornerTake:
    """The good take, its board moved in the middle."""
    moved = (HALF_NS / 1e9, T_board_moved)
    return corner_take("head", seconds=12.0, seed=3, dt_imu_cam_s=DT_S, params=PARAMS, moved=moved)


def other_imu() -> ImuSamples:
    return corner_take("head", seconds=12.0, seed=99, params=PARAMS).imu["head"]


@pytest.mark.parametrize("spoiled", AT_ONCE, ids=lambda spoiled: spoiled.name)
def test_what_no_solver_can_mend_is_refused_with_its_name(good: CornerTake, spoiled: Spoiled) -> None:
    found = spoiled.found(good)
    assert found.verdict == "refused"
    assert [cause.code for cause in found.causes] == [spoiled.cause]
    assert found.fit is None


@pytest.mark.slow
@pytest.mark.parametrize("spoiled", IN_THE_FIT, ids=lambda spoiled: spoiled.name)
def test_what_only_the_optimum_shows_is_refused_with_its_name(good: CornerTake, spoiled: Spoiled) -> None:
    found = spoiled.found(good)
    assert found.verdict == "refused"
    assert [cause.code for cause in found.causes] == [spoiled.cause]


def test_a_pushed_board_is_refused_with_when_and_how_far() -> None:
    found = calibrated(pushed(se3(np.eye(3), [0.003, 0.0, 0.0])))
    (cause,) = found.causes
    assert cause.code == "board_moved" and cause.span_s is not None and cause.measured is not None
    assert cause.span_s[0] <= HALF_NS / 1e9 - 1.0 <= cause.span_s[1]
    assert abs(cause.measured - 3.0) < 0.5


@pytest.mark.parametrize("axis", range(3))
def test_the_missing_motion_is_named(axis: int) -> None:
    turned, shifted = np.full(3, 0.5), np.full(3, 0.5)
    turned[axis] = 0.05
    causes = missing(Excitation(turned, np.full(3, 0.5), 300, 30.0), "head", ExcitationParams())
    assert [cause.code for cause in causes] == [f"weak_{TURNS[axis]}"]
    shifted[axis] = 0.05
    causes = missing(Excitation(np.full(3, 0.5), shifted, 300, 30.0), "head", ExcitationParams())
    assert [cause.code for cause in causes] == [f"weak_{SHIFTS[axis]}"]


def test_a_camera_that_never_turns_about_its_optical_axis_is_told_to(good: CornerTake) -> None:
    """Pictures and rates of a rig that only nods and shakes."""
    views = good.views["head"]
    limits = replace(CameraImuParams().excitation, turn_rad_s=5.0)
    found = calibrated(good, views=views, params=replace(CameraImuParams(), excitation=limits))
    assert {cause.code for cause in found.causes} == {"weak_turn_x", "weak_turn_y", "weak_turn_z"}
    assert "optical axis" in next(c for c in found.causes if c.code == "weak_turn_z").mend()


# The path and the solver


def spline(turn: Array) -> PoseSpline:
    R = [np.eye(3)]
    for step in turn[1:]:
        R.append(R[-1] @ so3_exp(step))
    return PoseSpline.from_controls(0.0, 0.1, np.array(R), np.cumsum(turn, axis=0))


@settings(max_examples=20)
@given(turns)
def test_rates_of_the_path_are_its_derivatives(turn: Array) -> None:
    path, step = spline(turn), 1e-5
    t_s = np.linspace(0.05, 0.6, 9)
    at, up, down = path.at(t_s), path.at(t_s + step), path.at(t_s - step)
    np.testing.assert_allclose((up.p - down.p) / (2 * step), at.velocity, atol=1e-6)
    np.testing.assert_allclose((up.velocity - down.velocity) / (2 * step), at.acceleration, atol=1e-4)
    rate = so3_log(np.swapaxes(down.R, 1, 2) @ up.R) / (2 * step)
    np.testing.assert_allclose(rate, at.rate_body, atol=1e-6)


@settings(max_examples=20)
@given(turns, turns)
def test_turning_controls_turns_the_path_as_foretold(turn: Array, by: Array) -> None:
    path, small = spline(turn), 1e-5 * by
    t_s = np.linspace(0.05, 0.6, 9)
    at = path.at(t_s, with_rates=True)
    up, down = (path.moved(sign * small, np.zeros((12, 3))).at(t_s) for sign in (1, -1))
    active = at.first[:, None] + np.arange(6)
    foretold = np.einsum("nkij,nkj->ni", at.turn_by, by[active]) * 1e-5
    np.testing.assert_allclose(so3_log(np.swapaxes(down.R, 1, 2) @ up.R) / 2, foretold, atol=1e-11)
    foretold = np.einsum("nkij,nkj->ni", at.rate_by, by[active]) * 1e-5
    np.testing.assert_allclose((up.rate_body - down.rate_body) / 2, foretold, atol=1e-10)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_arrow_solves_what_dense_algebra_solves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    controls, numbers, n = 9, 4, 40
    first = rng.integers(0, controls - 5, n)
    local, beside = rng.standard_normal((n, 3, LOCAL)), rng.standard_normal((n, 3, 2))
    columns = np.stack([first % 2, 2 + first % 2], axis=-1)
    arrow = Arrow(controls, numbers)
    arrow.add(Rows(np.arange(n), np.zeros(n), first, local, columns, beside, rng.standard_normal((n, 3))))
    size = SIZE * controls
    dense = np.zeros((n, 3, size + numbers))
    for k in range(n):
        dense[k, :, SIZE * first[k] : SIZE * first[k] + LOCAL] = local[k]
        dense[k, :, size + columns[k]] += beside[k].T
    J = dense.reshape(-1, size + numbers)
    A = J.T @ J + np.diag(np.r_[np.ones(size), np.zeros(numbers)])
    factor, right = Factor(arrow, np.ones(size)), rng.standard_normal(size + numbers)
    path, beside_it = factor.solve(right[:size], right[size:])
    np.testing.assert_allclose(A @ np.r_[path, beside_it], right, atol=1e-7)
    np.testing.assert_allclose(factor.covariance, np.linalg.inv(A)[size:, size:], rtol=1e-6, atol=1e-9)
