"""`handcap calibrate imu`: noise from a log at rest, scale, misalignment and bias from one in many attitudes."""

from handcap.calibrate.imu.log import ImuLog, log_of_take
from handcap.calibrate.imu.step import ImuResult, ImuStepParams, calibrate_imu, part_of

__all__ = ["ImuLog", "ImuResult", "ImuStepParams", "calibrate_imu", "log_of_take", "part_of"]
