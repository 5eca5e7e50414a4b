"""The curves of a replay: speed, uncertainty, residuals, inertial samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from handcap.clock import NS_PER_S, seconds
from handcap.geometry import Array
from handcap.review.colours import AXES, SIDES
from handcap.review.material import Material
from handcap.review.pictures import rms_by_picture
from handcap.review.space import position_sigma_m
from handcap.types import ImuSamples, Stamps, Trajectory

_IMU_SHOWN_HZ = 100.0
PLOTS: dict[str, tuple[str, ...]] = {
    "speed": ("speed m/s",),
    "sigma": ("position σ mm",),
    "residual": ("reprojection rms px",),
    "jaw": (),  # a curve of its own for each side: their cameras are not stamped alike
    "gyro": ("gyro x °/s", "gyro y °/s", "gyro z °/s"),
    "accel": ("accel x m/s²", "accel y m/s²", "accel z m/s²"),
}


def log_plots(rec: Any, root: str, material: Material) -> dict[str, tuple[float, float]]:
    """Everything below `<root>/plots`; labels and colours static.

    Returns:
        Plot to its least and largest value; plots without data are missing.
    """
    import rerun as rr

    curves = _Curves(rec, f"{root}/plots", material)
    for name, labels in PLOTS.items():
        colours = AXES if len(labels) == 3 else ((120, 180, 240),)
        style = rr.SeriesLines(names=labels, colors=colours, widths=[1.5] * len(labels))
        if labels:
            rec.log(f"{root}/plots/{name}", style, static=True)
    head = material.head
    if head is not None and head.tracked.sum() > 2:
        rows = head.tracked_only()
        mid_ns, speed = speed_m_s(rows)
        curves.add("speed", mid_ns, speed[:, None])
        sigma_mm = 1e3 * position_sigma_m(rows)
        known = np.isfinite(sigma_mm)
        curves.add("sigma", rows.t_ns[known], sigma_mm[known, None])
    residual = rms_by_picture(material)
    if residual is not None:
        stamps, rms_px = residual
        curves.add("residual", stamps + material.dt_session_cam_ns, rms_px[:, None])
    for side, tool in material.tools.items():
        style = rr.SeriesLines(names=f"{side} jaw mm", colors=SIDES[side], widths=1.5)
        rec.log(f"{root}/plots/jaw/{side}", style, static=True)
        known = np.isfinite(tool.width_m)
        curves.add(f"jaw/{side}", tool.poses.t_ns[known], 1e3 * tool.width_m[known, None])
    if material.mount.device in material.take.devices:
        for batch in material.take.imu_batches(material.mount.device):
            shown = thinned(batch.between(material.origin_ns, material.end_ns + 1))
            curves.add("gyro", shown.t_ns, np.rad2deg(shown.gyro_imu))
            curves.add("accel", shown.t_ns, shown.accel_imu)
    return curves.ranges


def thinned(imu: ImuSamples) -> ImuSamples:
    """Every n-th sample, at most 100 a second."""
    if len(imu) < 2:
        return imu
    rate_hz = NS_PER_S / float(np.median(np.diff(imu.t_ns)))
    step = max(1, int(np.ceil(rate_hz / _IMU_SHOWN_HZ - 1e-3)))
    return ImuSamples(imu.t_ns[::step], imu.gyro_imu[::step], imu.accel_imu[::step])


def speed_m_s(rows: Trajectory) -> tuple[Stamps, Array]:
    """Speed between neighbouring tracked rows, at their middle; gaps longer than three periods are left out."""
    dt_s = np.diff(seconds(rows.t_ns, int(rows.t_ns[0])))
    speed = np.linalg.norm(np.diff(rows.T_world_body[:, :3, 3], axis=0), axis=1) / dt_s
    near = dt_s < 3 * np.median(dt_s)
    return (rows.t_ns[:-1] + np.diff(rows.t_ns) // 2)[near], speed[near]


class _Curves:
    """Sends curves in pieces and remembers how far they reach."""

    def __init__(self, rec: Any, path: str, material: Material) -> None:
        self._rec, self._path, self._material = rec, path, material
        self.ranges: dict[str, tuple[float, float]] = {}

    def add(self, name: str, t_ns: Stamps, values: Array) -> None:
        """Append (n, k) values at (n,) session-clock stamps; of several curves in a plot, `name` is plot/curve."""
        import rerun as rr

        if not len(t_ns):
            return
        times = rr.TimeColumn("take", duration=self._material.on_timeline(t_ns))
        self._rec.send_columns(f"{self._path}/{name}", [times], rr.Scalars.columns(scalars=values))
        plot = name.split("/")[0]
        low, high = self.ranges.get(plot, (np.inf, -np.inf))
        self.ranges[plot] = min(low, float(values.min())), max(high, float(values.max()))
