"""What `calibrate imu` found of a sensor is taken off in the chip's axes, where it was found, and only then turned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.calibrate.camera_imu.known import corrected
from handcap.calibrate.part import Part
from handcap.errors import CalibrationError
from handcap.geometry import Array, so3_exp
from handcap.types import ImuModel, ImuSamples

MODEL = ImuModel(200.0, 1e-4, 1e-3, 1e-6, 1e-5)
small = hnp.arrays(float, (3, 3), elements=st.floats(-0.05, 0.05))
three = hnp.arrays(float, 3, elements=st.floats(-0.5, 0.5))
many = hnp.arrays(float, (4, 3), elements=st.floats(-10, 10))
WORDS = dict.fromkeys(("accel_matrix", "accel_bias", "gyro_matrix", "gyro_bias"), "x")


@given(small, small, small, three, three, three, many, many)
def test_rate_and_force_come_back_from_a_raw_sensor_that_lies_askew(
    scale: Array, skew: Array, leak: Array, gyro_bias: Array, accel_bias: Array, turn: Array, rate: Array, force: Array
) -> None:
    R_imu_chip, gyro_matrix, accel_matrix = so3_exp(3 * turn), np.eye(3) + scale, np.eye(3) + skew
    rate_chip, force_chip = rate @ R_imu_chip, force @ R_imu_chip
    gyro = rate_chip @ gyro_matrix.T + force_chip @ leak.T + gyro_bias
    accel = force_chip @ accel_matrix.T + accel_bias
    values = {"gyro_matrix": gyro_matrix, "gyro_bias": gyro_bias, "gyro_g_sensitivity": leak}
    values |= {"accel_matrix": accel_matrix, "accel_bias": accel_bias, "gyro_noise_density": 2e-4}
    recorded = ImuSamples(np.arange(4, dtype=np.int64), gyro, accel)
    found, model = corrected(recorded, R_imu_chip, MODEL, Part("imu", "head", "ok", values=values), "imu-head.json")
    np.testing.assert_allclose(found.gyro_imu, rate, atol=1e-9)
    np.testing.assert_allclose(found.accel_imu, force, atol=1e-9)
    assert model == ImuModel(200.0, 2e-4, 1e-3, 1e-6, 1e-5)


@pytest.mark.parametrize(
    "part",
    [
        Part("camera", "head", "ok"),
        Part("imu", "head", "refused"),
        Part("imu", "head", "ok", values={"gyro_noise_density": -1.0}),
        Part("imu", "head", "ok", values=WORDS),
    ],
)
def test_what_is_no_sensor_s_part_is_refused(part: Part) -> None:
    nothing = ImuSamples(np.arange(2, dtype=np.int64), np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(CalibrationError) as told:
        corrected(nothing, np.eye(3), MODEL, part, "imu-head.json")
    assert told.value.where == "imu-head.json"
