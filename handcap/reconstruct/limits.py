"""Where good ends, and how a hopeless take is given up."""

from __future__ import annotations

from dataclasses import dataclass

from handcap.causes import Cause


@dataclass(frozen=True, slots=True)
class VerdictParams:
    """Limits; each is engineering judgement unless a source is named."""

    min_pictures: int = 8
    min_length_s: float = 1.0
    min_view_motion_deg: float = 0.5  # one pixel is about 0.1°: still views shift by less
    motion_views: int = 4  # of a feature in keyframes, for its way through the view to count
    min_parallax_deg: float = 0.6
    min_imu_rate_hz: float = 50.0
    dark_level: float = 12.0
    bright_level: float = 243.0
    min_points_dark: int = 60  # of a dark picture, most of whose points are noise
    min_points: int = 15
    most_blind: float = 0.8  # share of pictures without points beyond which nothing is tried
    fast_deg_s: float = 180.0
    accel_share: float = 0.25  # mean |a| off gravity by more than this is a unit error, not motion
    gyro_ratio: float = 8.0  # gyroscope's turning against the picture's; a unit error is 57
    min_correlation: float = 0.5
    max_offset_sigma_ms: float = 3.0
    least_offset_ms: float = 0.2  # a smaller change of the clock offset moves nothing worth a word
    max_clock_drift_ms: float = 10.0  # between the halves; each is known to 2 ms
    drift_shows: float = 1.2  # times the IMU's stated noise; 10 ms over 10 s of the virtual rig left 4 and more
    max_rotation_error_deg: float = 4.0
    max_reprojection_px: float = 2.5
    max_imu_mismatch: float = 8.0  # good recordings have shown 1 to 2 with data-sheet noise
    max_gravity_error: float = 0.6  # m/s²; short good recordings have shown 0.1
    max_saturated: float = 0.01  # share of samples
    imu_split_s: float = 2.0  # a gap beyond which nothing ties the two sides together
    max_bias: float = 1.0  # in units of the next two
    gyro_bias_rad_s: float = 0.35  # 20 °/s: beyond any consumer part's zero-rate level
    accel_bias_m_s2: float = 1.5
    max_scale_sigma_pct: float = 5.0
    max_position_sigma_m: float = 0.15
    min_marks: int = 8  # landmarks seen from a keyframe, for it to count as tracked
    longest_blink_s: float = 0.125  # of pictures without points that is no cover over the lens
    moves_rad_s: float = 0.1  # a device that turns so fast sees another picture every time
    longest_bridge_s: float = 0.5  # without sight; the IMU alone stays within about a centimetre
    shortest_span_s: float = 1.0  # of a stretch worth keeping
    ragged_end_s: float = 0.15  # pictures before the first sample or after the last: no two streams end together


class Refused(Exception):
    """Ends a reconstruction that cannot succeed; caught by the stage, which reports the causes."""

    def __init__(self, *causes: Cause) -> None:
        super().__init__(", ".join(c.code for c in causes))
        self.causes = causes
