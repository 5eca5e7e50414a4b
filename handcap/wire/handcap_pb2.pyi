from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProtocolVersion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROTOCOL_VERSION_UNKNOWN: _ClassVar[ProtocolVersion]
    PROTOCOL_VERSION_CURRENT: _ClassVar[ProtocolVersion]

class SensorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SENSOR_KIND_UNKNOWN: _ClassVar[SensorKind]
    SENSOR_KIND_IMU: _ClassVar[SensorKind]
    SENSOR_KIND_ENCODER: _ClassVar[SensorKind]
    SENSOR_KIND_TRIGGER: _ClassVar[SensorKind]
    SENSOR_KIND_BUTTON: _ClassVar[SensorKind]
    SENSOR_KIND_LIGHT: _ClassVar[SensorKind]
    SENSOR_KIND_CAMERA: _ClassVar[SensorKind]

class SensorState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SENSOR_STATE_UNKNOWN: _ClassVar[SensorState]
    SENSOR_STATE_RUNNING: _ClassVar[SensorState]
    SENSOR_STATE_STOPPED: _ClassVar[SensorState]
    SENSOR_STATE_ABSENT: _ClassVar[SensorState]
    SENSOR_STATE_WRONG_IDENTITY: _ClassVar[SensorState]
    SENSOR_STATE_BAD_REGISTERS: _ClassVar[SensorState]
    SENSOR_STATE_FAILED_SELF_TEST: _ClassVar[SensorState]
    SENSOR_STATE_STUCK: _ClassVar[SensorState]

class ResetCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESET_CAUSE_UNKNOWN: _ClassVar[ResetCause]
    RESET_CAUSE_POWER: _ClassVar[ResetCause]
    RESET_CAUSE_PIN: _ClassVar[ResetCause]
    RESET_CAUSE_WATCHDOG: _ClassVar[ResetCause]
    RESET_CAUSE_COMMAND: _ClassVar[ResetCause]
PROTOCOL_VERSION_UNKNOWN: ProtocolVersion
PROTOCOL_VERSION_CURRENT: ProtocolVersion
SENSOR_KIND_UNKNOWN: SensorKind
SENSOR_KIND_IMU: SensorKind
SENSOR_KIND_ENCODER: SensorKind
SENSOR_KIND_TRIGGER: SensorKind
SENSOR_KIND_BUTTON: SensorKind
SENSOR_KIND_LIGHT: SensorKind
SENSOR_KIND_CAMERA: SensorKind
SENSOR_STATE_UNKNOWN: SensorState
SENSOR_STATE_RUNNING: SensorState
SENSOR_STATE_STOPPED: SensorState
SENSOR_STATE_ABSENT: SensorState
SENSOR_STATE_WRONG_IDENTITY: SensorState
SENSOR_STATE_BAD_REGISTERS: SensorState
SENSOR_STATE_FAILED_SELF_TEST: SensorState
SENSOR_STATE_STUCK: SensorState
RESET_CAUSE_UNKNOWN: ResetCause
RESET_CAUSE_POWER: ResetCause
RESET_CAUSE_PIN: ResetCause
RESET_CAUSE_WATCHDOG: ResetCause
RESET_CAUSE_COMMAND: ResetCause

class Envelope(_message.Message):
    __slots__ = ("seq", "t_us", "boot_id", "imu_batch", "encoder", "hello", "frame_stamp", "video_frame", "button", "hand_joints", "sync_request", "sync_response", "status", "log", "command", "ack")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    T_US_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    IMU_BATCH_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FRAME_STAMP_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FRAME_FIELD_NUMBER: _ClassVar[int]
    BUTTON_FIELD_NUMBER: _ClassVar[int]
    HAND_JOINTS_FIELD_NUMBER: _ClassVar[int]
    SYNC_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SYNC_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    seq: int
    t_us: int
    boot_id: int
    imu_batch: ImuBatch
    encoder: Encoder
    hello: Hello
    frame_stamp: FrameStamp
    video_frame: VideoFrame
    button: Button
    hand_joints: HandJoints
    sync_request: SyncRequest
    sync_response: SyncResponse
    status: Status
    log: Log
    command: Command
    ack: Ack
    def __init__(self, seq: _Optional[int] = ..., t_us: _Optional[int] = ..., boot_id: _Optional[int] = ..., imu_batch: _Optional[_Union[ImuBatch, _Mapping]] = ..., encoder: _Optional[_Union[Encoder, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., frame_stamp: _Optional[_Union[FrameStamp, _Mapping]] = ..., video_frame: _Optional[_Union[VideoFrame, _Mapping]] = ..., button: _Optional[_Union[Button, _Mapping]] = ..., hand_joints: _Optional[_Union[HandJoints, _Mapping]] = ..., sync_request: _Optional[_Union[SyncRequest, _Mapping]] = ..., sync_response: _Optional[_Union[SyncResponse, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., command: _Optional[_Union[Command, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ...) -> None: ...

class Sensor(_message.Message):
    __slots__ = ("kind", "model", "state", "identity", "rate_hz", "gyro_range_rad_s", "accel_range_m_s2")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    GYRO_RANGE_RAD_S_FIELD_NUMBER: _ClassVar[int]
    ACCEL_RANGE_M_S2_FIELD_NUMBER: _ClassVar[int]
    kind: SensorKind
    model: str
    state: SensorState
    identity: int
    rate_hz: float
    gyro_range_rad_s: float
    accel_range_m_s2: float
    def __init__(self, kind: _Optional[_Union[SensorKind, str]] = ..., model: _Optional[str] = ..., state: _Optional[_Union[SensorState, str]] = ..., identity: _Optional[int] = ..., rate_hz: _Optional[float] = ..., gyro_range_rad_s: _Optional[float] = ..., accel_range_m_s2: _Optional[float] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "board", "uid", "firmware_version", "git_hash", "sensors", "boot_count", "reset_cause")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOARD_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    FIRMWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    GIT_HASH_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    BOOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESET_CAUSE_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    board: str
    uid: int
    firmware_version: str
    git_hash: str
    sensors: _containers.RepeatedCompositeFieldContainer[Sensor]
    boot_count: int
    reset_cause: ResetCause
    def __init__(self, protocol_version: _Optional[int] = ..., board: _Optional[str] = ..., uid: _Optional[int] = ..., firmware_version: _Optional[str] = ..., git_hash: _Optional[str] = ..., sensors: _Optional[_Iterable[_Union[Sensor, _Mapping]]] = ..., boot_count: _Optional[int] = ..., reset_cause: _Optional[_Union[ResetCause, str]] = ...) -> None: ...

class FrameStamp(_message.Message):
    __slots__ = ("camera", "frame", "exposure_start_t_ns", "exposure_ns", "strobe_seen", "gap_before", "gap_code")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_START_T_NS_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_NS_FIELD_NUMBER: _ClassVar[int]
    STROBE_SEEN_FIELD_NUMBER: _ClassVar[int]
    GAP_BEFORE_FIELD_NUMBER: _ClassVar[int]
    GAP_CODE_FIELD_NUMBER: _ClassVar[int]
    camera: int
    frame: int
    exposure_start_t_ns: int
    exposure_ns: int
    strobe_seen: bool
    gap_before: bool
    gap_code: int
    def __init__(self, camera: _Optional[int] = ..., frame: _Optional[int] = ..., exposure_start_t_ns: _Optional[int] = ..., exposure_ns: _Optional[int] = ..., strobe_seen: _Optional[bool] = ..., gap_before: _Optional[bool] = ..., gap_code: _Optional[int] = ...) -> None: ...

class VideoFrame(_message.Message):
    __slots__ = ("camera", "frame", "capture_t_ns", "encoding", "width", "height", "data", "frames_dropped", "stamp_at_exposure_start")
    class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ENCODING_UNKNOWN: _ClassVar[VideoFrame.Encoding]
        ENCODING_MJPEG: _ClassVar[VideoFrame.Encoding]
        ENCODING_H264: _ClassVar[VideoFrame.Encoding]
    ENCODING_UNKNOWN: VideoFrame.Encoding
    ENCODING_MJPEG: VideoFrame.Encoding
    ENCODING_H264: VideoFrame.Encoding
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_T_NS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DROPPED_FIELD_NUMBER: _ClassVar[int]
    STAMP_AT_EXPOSURE_START_FIELD_NUMBER: _ClassVar[int]
    camera: str
    frame: int
    capture_t_ns: int
    encoding: VideoFrame.Encoding
    width: int
    height: int
    data: bytes
    frames_dropped: int
    stamp_at_exposure_start: bool
    def __init__(self, camera: _Optional[str] = ..., frame: _Optional[int] = ..., capture_t_ns: _Optional[int] = ..., encoding: _Optional[_Union[VideoFrame.Encoding, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., data: _Optional[bytes] = ..., frames_dropped: _Optional[int] = ..., stamp_at_exposure_start: _Optional[bool] = ...) -> None: ...

class Button(_message.Message):
    __slots__ = ("edge", "edge_t_ns", "presses")
    class Edge(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EDGE_UNKNOWN: _ClassVar[Button.Edge]
        EDGE_PRESSED: _ClassVar[Button.Edge]
        EDGE_RELEASED: _ClassVar[Button.Edge]
    EDGE_UNKNOWN: Button.Edge
    EDGE_PRESSED: Button.Edge
    EDGE_RELEASED: Button.Edge
    EDGE_FIELD_NUMBER: _ClassVar[int]
    EDGE_T_NS_FIELD_NUMBER: _ClassVar[int]
    PRESSES_FIELD_NUMBER: _ClassVar[int]
    edge: Button.Edge
    edge_t_ns: int
    presses: int
    def __init__(self, edge: _Optional[_Union[Button.Edge, str]] = ..., edge_t_ns: _Optional[int] = ..., presses: _Optional[int] = ...) -> None: ...

class HandJoints(_message.Message):
    __slots__ = ("t_ns", "angle_rad")
    T_NS_FIELD_NUMBER: _ClassVar[int]
    ANGLE_RAD_FIELD_NUMBER: _ClassVar[int]
    t_ns: int
    angle_rad: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, t_ns: _Optional[int] = ..., angle_rad: _Optional[_Iterable[float]] = ...) -> None: ...

class SyncRequest(_message.Message):
    __slots__ = ("host_sent_t_ns",)
    HOST_SENT_T_NS_FIELD_NUMBER: _ClassVar[int]
    host_sent_t_ns: int
    def __init__(self, host_sent_t_ns: _Optional[int] = ...) -> None: ...

class SyncResponse(_message.Message):
    __slots__ = ("host_sent_t_ns", "board_received_t_ns", "board_sent_t_ns")
    HOST_SENT_T_NS_FIELD_NUMBER: _ClassVar[int]
    BOARD_RECEIVED_T_NS_FIELD_NUMBER: _ClassVar[int]
    BOARD_SENT_T_NS_FIELD_NUMBER: _ClassVar[int]
    host_sent_t_ns: int
    board_received_t_ns: int
    board_sent_t_ns: int
    def __init__(self, host_sent_t_ns: _Optional[int] = ..., board_received_t_ns: _Optional[int] = ..., board_sent_t_ns: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("imu_samples_lost", "frame_stamps_dropped", "messages_dropped", "rx_bad_crc", "rx_bad_frame", "rx_too_long", "rx_overruns", "imu_invalid_samples", "imu_fifo_resets", "loop_late_us_max", "stack_free_bytes", "supply_v", "encoder_read_errors", "sensors", "imu_stuck")
    IMU_SAMPLES_LOST_FIELD_NUMBER: _ClassVar[int]
    FRAME_STAMPS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_DROPPED_FIELD_NUMBER: _ClassVar[int]
    RX_BAD_CRC_FIELD_NUMBER: _ClassVar[int]
    RX_BAD_FRAME_FIELD_NUMBER: _ClassVar[int]
    RX_TOO_LONG_FIELD_NUMBER: _ClassVar[int]
    RX_OVERRUNS_FIELD_NUMBER: _ClassVar[int]
    IMU_INVALID_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    IMU_FIFO_RESETS_FIELD_NUMBER: _ClassVar[int]
    LOOP_LATE_US_MAX_FIELD_NUMBER: _ClassVar[int]
    STACK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_V_FIELD_NUMBER: _ClassVar[int]
    ENCODER_READ_ERRORS_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    IMU_STUCK_FIELD_NUMBER: _ClassVar[int]
    imu_samples_lost: int
    frame_stamps_dropped: int
    messages_dropped: int
    rx_bad_crc: int
    rx_bad_frame: int
    rx_too_long: int
    rx_overruns: int
    imu_invalid_samples: int
    imu_fifo_resets: int
    loop_late_us_max: int
    stack_free_bytes: int
    supply_v: float
    encoder_read_errors: int
    sensors: _containers.RepeatedCompositeFieldContainer[Sensor]
    imu_stuck: int
    def __init__(self, imu_samples_lost: _Optional[int] = ..., frame_stamps_dropped: _Optional[int] = ..., messages_dropped: _Optional[int] = ..., rx_bad_crc: _Optional[int] = ..., rx_bad_frame: _Optional[int] = ..., rx_too_long: _Optional[int] = ..., rx_overruns: _Optional[int] = ..., imu_invalid_samples: _Optional[int] = ..., imu_fifo_resets: _Optional[int] = ..., loop_late_us_max: _Optional[int] = ..., stack_free_bytes: _Optional[int] = ..., supply_v: _Optional[float] = ..., encoder_read_errors: _Optional[int] = ..., sensors: _Optional[_Iterable[_Union[Sensor, _Mapping]]] = ..., imu_stuck: _Optional[int] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("level", "text")
    class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LEVEL_UNKNOWN: _ClassVar[Log.Level]
        LEVEL_INFO: _ClassVar[Log.Level]
        LEVEL_WARNING: _ClassVar[Log.Level]
        LEVEL_ERROR: _ClassVar[Log.Level]
    LEVEL_UNKNOWN: Log.Level
    LEVEL_INFO: Log.Level
    LEVEL_WARNING: Log.Level
    LEVEL_ERROR: Log.Level
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    level: Log.Level
    text: str
    def __init__(self, level: _Optional[_Union[Log.Level, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "identify", "stream", "set_imu_rate", "set_trigger", "light", "reboot_to_bootloader", "mark_take_start")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SET_IMU_RATE_FIELD_NUMBER: _ClassVar[int]
    SET_TRIGGER_FIELD_NUMBER: _ClassVar[int]
    LIGHT_FIELD_NUMBER: _ClassVar[int]
    REBOOT_TO_BOOTLOADER_FIELD_NUMBER: _ClassVar[int]
    MARK_TAKE_START_FIELD_NUMBER: _ClassVar[int]
    id: int
    identify: Identify
    stream: Stream
    set_imu_rate: SetImuRate
    set_trigger: SetTrigger
    light: Light
    reboot_to_bootloader: RebootToBootloader
    mark_take_start: MarkTakeStart
    def __init__(self, id: _Optional[int] = ..., identify: _Optional[_Union[Identify, _Mapping]] = ..., stream: _Optional[_Union[Stream, _Mapping]] = ..., set_imu_rate: _Optional[_Union[SetImuRate, _Mapping]] = ..., set_trigger: _Optional[_Union[SetTrigger, _Mapping]] = ..., light: _Optional[_Union[Light, _Mapping]] = ..., reboot_to_bootloader: _Optional[_Union[RebootToBootloader, _Mapping]] = ..., mark_take_start: _Optional[_Union[MarkTakeStart, _Mapping]] = ...) -> None: ...

class Identify(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stream(_message.Message):
    __slots__ = ("on",)
    ON_FIELD_NUMBER: _ClassVar[int]
    on: bool
    def __init__(self, on: _Optional[bool] = ...) -> None: ...

class SetImuRate(_message.Message):
    __slots__ = ("rate_hz",)
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    rate_hz: int
    def __init__(self, rate_hz: _Optional[int] = ...) -> None: ...

class SetTrigger(_message.Message):
    __slots__ = ("on", "rate_mhz", "exposure_us")
    ON_FIELD_NUMBER: _ClassVar[int]
    RATE_MHZ_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_US_FIELD_NUMBER: _ClassVar[int]
    on: bool
    rate_mhz: int
    exposure_us: int
    def __init__(self, on: _Optional[bool] = ..., rate_mhz: _Optional[int] = ..., exposure_us: _Optional[int] = ...) -> None: ...

class MarkTakeStart(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Light(_message.Message):
    __slots__ = ("red", "green", "blue", "blink_ms")
    RED_FIELD_NUMBER: _ClassVar[int]
    GREEN_FIELD_NUMBER: _ClassVar[int]
    BLUE_FIELD_NUMBER: _ClassVar[int]
    BLINK_MS_FIELD_NUMBER: _ClassVar[int]
    red: int
    green: int
    blue: int
    blink_ms: int
    def __init__(self, red: _Optional[int] = ..., green: _Optional[int] = ..., blue: _Optional[int] = ..., blink_ms: _Optional[int] = ...) -> None: ...

class RebootToBootloader(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ack(_message.Message):
    __slots__ = ("id", "outcome", "text")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNKNOWN: _ClassVar[Ack.Outcome]
        OUTCOME_DONE: _ClassVar[Ack.Outcome]
        OUTCOME_REFUSED: _ClassVar[Ack.Outcome]
        OUTCOME_FAILED: _ClassVar[Ack.Outcome]
        OUTCOME_NOT_KNOWN: _ClassVar[Ack.Outcome]
    OUTCOME_UNKNOWN: Ack.Outcome
    OUTCOME_DONE: Ack.Outcome
    OUTCOME_REFUSED: Ack.Outcome
    OUTCOME_FAILED: Ack.Outcome
    OUTCOME_NOT_KNOWN: Ack.Outcome
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: int
    outcome: Ack.Outcome
    text: str
    def __init__(self, id: _Optional[int] = ..., outcome: _Optional[_Union[Ack.Outcome, str]] = ..., text: _Optional[str] = ...) -> None: ...

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
