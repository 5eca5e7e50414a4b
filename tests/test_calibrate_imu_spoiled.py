"""A spoiled log is refused with the cause of its being spoiled; none passes quietly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from imu_logs import MODEL, poses_log, still_log, with_columns

from handcap import geometry
from handcap.calibrate.imu import ImuLog, calibrate_imu, part_of
from handcap.errors import CalibrationError
from handcap.geometry import GRAVITY_M_S2
from handcap.sim import imu
from handcap.sim.turned import FACES, laid_down

Log = Callable[[], ImuLog]


def counts(log: ImuLog) -> ImuLog:
    return with_columns(log, np.rint(log.gyro / 1.06e-3), np.rint(log.accel / 4.8e-3))


def later(log: ImuLog, by_s: float) -> ImuLog:
    """The clock is set in the middle."""
    t_ns = log.t_ns.copy()
    t_ns[len(t_ns) // 2 :] += round(by_s * 1e9)
    return replace(log, t_ns=t_ns)


def slower(log: ImuLog) -> ImuLog:
    """A sensor at a quarter of the rate, read again and again."""
    return with_columns(log, np.repeat(log.gyro[::4], 4, axis=0), np.repeat(log.accel[::4], 4, axis=0))


def touched(log: ImuLog) -> ImuLog:
    """Somebody puts a cup on the table."""
    accel, i = log.accel.copy(), len(log) // 3
    accel[i : i + 40] += 0.3 * np.sin(np.arange(40))[:, None]
    return with_columns(log, accel=accel)


def turned_over(log: ImuLog) -> ImuLog:
    """It lies differently from some time on."""
    accel, i = log.accel.copy(), len(log) // 2
    accel[i:] = accel[i:] @ geometry.so3_exp([0.0, 0.05, 0.0])
    return with_columns(log, accel=accel)


def in_hand(log: ImuLog) -> ImuLog:
    """A hand trembles and sways."""
    t = log.t_s[:, None]
    sway = 0.1 * np.sin(2 * np.pi * np.array([0.4, 0.5, 0.7]) * t) + 0.05 * np.sin(2 * np.pi * 8 * t)
    return with_columns(log, log.gyro + sway, log.accel + 5 * sway)


def few_attitudes(attitudes: np.ndarray) -> ImuLog:
    motion, end_s = laid_down(attitudes)
    t_ns = (np.arange(int(end_s * 100)) * 10_000_000).astype(np.int64)
    samples = imu.record(motion, MODEL, imu.RAW_PART, t_ns, np.random.default_rng(4)).samples
    return ImuLog("poses", t_ns, samples.gyro_imu, samples.accel_imu)


def leant_on(log: ImuLog) -> ImuLog:
    """A hand leans on it, a little differently each time."""
    push = 1 + 0.007 * np.sin(log.t_s * 2 * np.pi / 33)
    return with_columns(log, accel=log.accel * push[:, None])


swap_xy, mirror_y = np.eye(3)[[1, 0, 2]], np.diag([1.0, -1.0, 1.0])
cycle = np.eye(3)[[1, 2, 0]]
ASKEW = np.random.default_rng(3).uniform(-2.0, 2.0, (8, 3))
ALMOST = np.random.default_rng(5).uniform(-0.1, 0.1, (15, 3))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda: with_columns(still_log(), 57.3 * still_log().gyro), "log_gyro_noise"),
        (lambda: with_columns(poses_log(), 57.3 * poses_log().gyro), "log_gyro_unit"),
        (lambda: with_columns(still_log(), accel=still_log().accel / GRAVITY_M_S2), "log_accel_g"),
        (lambda: with_columns(poses_log(), accel=poses_log().accel / GRAVITY_M_S2), "log_accel_g"),
        (lambda: with_columns(still_log(), accel=1e3 * still_log().accel / GRAVITY_M_S2), "log_accel_unit"),
        (lambda: with_columns(poses_log(), accel=2 * poses_log().accel), "log_accel_unit"),
        (lambda: with_columns(poses_log(), accel=1.12 * poses_log().accel), "log_accel_unit"),
        (lambda: counts(still_log()), "log_counts"),
        (lambda: counts(poses_log()), "log_counts"),
        (lambda: with_columns(still_log(), still_log().accel, still_log().gyro), "log_swapped"),
        (lambda: with_columns(poses_log(), poses_log().accel, poses_log().gyro), "log_swapped"),
        (lambda: with_columns(poses_log(), poses_log().gyro @ swap_xy), "log_axes_mirrored"),
        (lambda: with_columns(poses_log(), poses_log().gyro @ mirror_y), "log_axes_mirrored"),
        (lambda: with_columns(poses_log(), -poses_log().gyro), "log_axes_mirrored"),
        (lambda: with_columns(poses_log(), accel=poses_log().accel @ mirror_y), "log_axes_mirrored"),
        (
            lambda: with_columns(poses_log(), poses_log().gyro @ mirror_y, poses_log().accel @ mirror_y),
            "log_axes_mirrored",
        ),
        (lambda: with_columns(poses_log(), poses_log().gyro @ cycle), "log_axes_swapped"),
        (lambda: with_columns(poses_log(), accel=poses_log().accel @ cycle), "log_axes_swapped"),
        (lambda: later(still_log(), 0.05), "log_clock_jump"),
        (lambda: later(poses_log(), 0.05), "log_clock_jump"),
        (lambda: later(still_log(), -3.0), "log_clock_jump"),
        (lambda: later(poses_log(), 3600.0), "log_clock_jump"),
        (lambda: replace(still_log(), dropped=40), "log_clock_back"),
        (lambda: replace(still_log(), t_ns=np.zeros(len(still_log()), np.int64)), "log_clock_back"),
        (lambda: replace(still_log(), stated=replace(MODEL, gyro_noise_density=4e-6)), "log_gyro_noise"),
        (lambda: replace(still_log(), rate_hz=200.0), "log_rate"),
        (lambda: replace(still_log(), stated=replace(MODEL, rate_hz=1000.0)), "log_rate"),
        (lambda: replace(poses_log(), t_ns=poses_log().t_ns * 2), "turns_scaled"),
        (lambda: replace(poses_log(), t_ns=poses_log().t_ns // 10 * 11), "turns_scaled"),
        (lambda: touched(still_log()), "log_moved"),
        (lambda: turned_over(still_log()), "log_moved"),
        (lambda: in_hand(still_log()), "log_not_still"),
        (lambda: with_columns(poses_log(), np.clip(poses_log().gyro, -0.6, 0.6)), "log_saturated"),
        (lambda: with_columns(poses_log(), accel=np.clip(poses_log().accel, -9.0, 9.0)), "log_saturated"),
        (lambda: with_columns(still_log(), accel=np.clip(still_log().accel, -9.8, 9.8)), "log_saturated"),
        (lambda: still_log(20.0), "log_short"),
        (lambda: with_columns(still_log(), still_log().gyro * [1, 0, 1]), "log_frozen"),
        (lambda: with_columns(still_log(), accel=still_log().accel[:, [0, 0, 2]]), "log_twin_axes"),
        (lambda: slower(still_log()), "log_repeats"),
        (lambda: with_columns(still_log(), accel=still_log().accel - [0.2, -0.3, 9.7]), "log_no_gravity"),
        (lambda: few_attitudes(FACES[[0, 1, 2, 4, 5]]), "position_missing"),
        (lambda: few_attitudes(FACES), "few_positions"),
        (lambda: few_attitudes(np.repeat(FACES[:3], 5, axis=0) + ALMOST), "position_missing"),
        (lambda: leant_on(poses_log()), "rests_disagree"),
    ],
)
def test_what_spoiled_a_log_is_named(spoil: Log, code: str) -> None:
    result = calibrate_imu([spoil()])
    assert code in [cause.code for cause in result.causes]
    part = part_of(result, "head")
    assert part.verdict == "refused"
    assert all(value is None for value in part.values.values())
    for cause in result.causes:
        for lang in ("en", "zh"):
            assert "None" not in cause.text(lang) + cause.mend(lang), cause


def test_a_log_that_loses_many_samples_is_refused() -> None:
    log, rng = still_log(), np.random.default_rng(0)
    kept = rng.random(len(log)) > 0.005
    lossy = replace(log, t_ns=log.t_ns[kept], gyro=log.gyro[kept], accel=log.accel[kept])
    assert [cause.code for cause in calibrate_imu([lossy]).causes] == ["log_lost"]


def test_the_missing_side_is_named_in_the_board_s_axes_not_the_chip_s() -> None:
    log = few_attitudes(np.concatenate([FACES[[0, 2, 3, 4, 5]], ASKEW[:2] * 0.2]))
    (cause,) = calibrate_imu([log]).causes
    assert (cause.code, cause.body) == ("position_missing", "y_up") and "right side" in cause.text()
    R_imu_chip = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    (cause,) = calibrate_imu([replace(log, R_imu_chip=R_imu_chip)]).causes
    assert cause.body == "x_up"


def test_two_logs_of_a_kind_or_of_two_devices_are_told_apart_from_a_pair() -> None:
    with pytest.raises(CalibrationError, match="2 logs lie still"):
        calibrate_imu([still_log(), replace(still_log(120.0, 1), name="again")])
    with pytest.raises(CalibrationError, match="different devices"):
        calibrate_imu([replace(still_log(), uid="a"), replace(poses_log(), uid="b")])
    with pytest.raises(CalibrationError, match="no log"):
        calibrate_imu([])
    with pytest.raises(CalibrationError, match="NaN"):
        calibrate_imu([with_columns(still_log(), still_log().gyro * np.nan)])
    with pytest.raises(CalibrationError, match="only 100 samples"):
        calibrate_imu([still_log(1.0)])
