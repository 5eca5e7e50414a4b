from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("seq", "t_us", "boot_id", "imu_batch", "encoder")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    T_US_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    IMU_BATCH_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    seq: int
    t_us: int
    boot_id: int
    imu_batch: ImuBatch
    encoder: Encoder
    def __init__(self, seq: _Optional[int] = ..., t_us: _Optional[int] = ..., boot_id: _Optional[int] = ..., imu_batch: _Optional[_Union[ImuBatch, _Mapping]] = ..., encoder: _Optional[_Union[Encoder, _Mapping]] = ...) -> None: ...

class ImuBatch(_message.Message):
    __slots__ = ("first_sample_t_ns", "period_ns", "gyro_counts", "accel_counts", "gyro_scale", "accel_scale", "fifo_overflows", "temperature_c")
    FIRST_SAMPLE_T_NS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_NS_FIELD_NUMBER: _ClassVar[int]
    GYRO_COUNTS_FIELD_NUMBER: _ClassVar[int]
    ACCEL_COUNTS_FIELD_NUMBER: _ClassVar[int]
    GYRO_SCALE_FIELD_NUMBER: _ClassVar[int]
    ACCEL_SCALE_FIELD_NUMBER: _ClassVar[int]
    FIFO_OVERFLOWS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_C_FIELD_NUMBER: _ClassVar[int]
    first_sample_t_ns: int
    period_ns: int
    gyro_counts: _containers.RepeatedScalarFieldContainer[int]
    accel_counts: _containers.RepeatedScalarFieldContainer[int]
    gyro_scale: float
    accel_scale: float
    fifo_overflows: int
    temperature_c: float
    def __init__(self, first_sample_t_ns: _Optional[int] = ..., period_ns: _Optional[int] = ..., gyro_counts: _Optional[_Iterable[int]] = ..., accel_counts: _Optional[_Iterable[int]] = ..., gyro_scale: _Optional[float] = ..., accel_scale: _Optional[float] = ..., fifo_overflows: _Optional[int] = ..., temperature_c: _Optional[float] = ...) -> None: ...

class Encoder(_message.Message):
    __slots__ = ("first_sample_t_ns", "period_ns", "angle_counts", "counts_per_turn", "magnet_found", "magnet_too_weak", "magnet_too_strong", "read_errors")
    FIRST_SAMPLE_T_NS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_NS_FIELD_NUMBER: _ClassVar[int]
    ANGLE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_PER_TURN_FIELD_NUMBER: _ClassVar[int]
    MAGNET_FOUND_FIELD_NUMBER: _ClassVar[int]
    MAGNET_TOO_WEAK_FIELD_NUMBER: _ClassVar[int]
    MAGNET_TOO_STRONG_FIELD_NUMBER: _ClassVar[int]
    READ_ERRORS_FIELD_NUMBER: _ClassVar[int]
    first_sample_t_ns: int
    period_ns: int
    angle_counts: _containers.RepeatedScalarFieldContainer[int]
    counts_per_turn: int
    magnet_found: bool
    magnet_too_weak: bool
    magnet_too_strong: bool
    read_errors: int
    def __init__(self, first_sample_t_ns: _Optional[int] = ..., period_ns: _Optional[int] = ..., angle_counts: _Optional[_Iterable[int]] = ..., counts_per_turn: _Optional[int] = ..., magnet_found: _Optional[bool] = ..., magnet_too_weak: _Optional[bool] = ..., magnet_too_strong: _Optional[bool] = ..., read_errors: _Optional[int] = ...) -> None: ...

class ImuSI(_message.Message):
    __slots__ = ("t_ns", "gyro_rad_s", "accel_m_s2")
    T_NS_FIELD_NUMBER: _ClassVar[int]
    GYRO_RAD_S_FIELD_NUMBER: _ClassVar[int]
    ACCEL_M_S2_FIELD_NUMBER: _ClassVar[int]
    t_ns: _containers.RepeatedScalarFieldContainer[int]
    gyro_rad_s: _containers.RepeatedScalarFieldContainer[float]
    accel_m_s2: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, t_ns: _Optional[_Iterable[int]] = ..., gyro_rad_s: _Optional[_Iterable[float]] = ..., accel_m_s2: _Optional[_Iterable[float]] = ...) -> None: ...
