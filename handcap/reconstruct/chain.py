"""What one device's own camera and IMU say of its motion, before the devices are tied together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S, apart_ns, to_imu_clock
from handcap.geometry import Array, adjoint, inverse
from handcap.reconstruct.bridge import bridge_covariance, bridge_poses
from handcap.reconstruct.inertial import States
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuModel, ImuSamples, Stamps, Trajectory


@dataclass(frozen=True, eq=False, slots=True)
class Chain:
    """One device's keyframe states, how they err together, and the samples that join them.

    Attributes:
        states: world z up.
        joint: their covariance.
        imu: samples of the device.
        model: its noise, as the residuals demand.
        camera_t_ns: (f,) pictures, as recorded.
        dt_imu_cam_s: of the camera that took them.
        tracked: (f,) bool.
    """

    states: States
    joint: PoseUncertainty
    imu: ImuSamples
    model: ImuModel
    camera_t_ns: Stamps
    dt_imu_cam_s: float
    tracked: NDArray[np.bool_]

    @property
    def t_ns(self) -> Stamps:
        """(f,) pictures, mid-exposure, session clock."""
        return to_imu_clock(self.camera_t_ns, self.dt_imu_cam_s)

    def moved(self, T_new_world: Array) -> Chain:
        """The same motion in another world, z up as well."""
        return replace(self, states=self.states.moved(T_new_world))

    def knows(self, t_ns: Stamps) -> NDArray[np.bool_]:
        """(m,) whether each time lies on a tracked picture, or between two neighbours that both are."""
        picture_t_ns = self.t_ns
        i = np.clip(np.searchsorted(picture_t_ns, t_ns, side="right") - 1, 0, len(picture_t_ns) - 2)
        inside = (t_ns >= picture_t_ns[0]) & (t_ns <= picture_t_ns[-1])
        return inside & self.tracked[i] & self.tracked[i + 1]

    def reaches(self, t_ns: Stamps, within_s: float) -> NDArray[np.bool_]:
        """(m,) whether each time lies among the keyframes and so near to a tracked picture."""
        seen_ns = self.t_ns[self.tracked]
        if not len(seen_ns):
            return np.zeros(len(t_ns), bool)
        inside = (t_ns >= self.states.t_ns[0]) & (t_ns <= self.states.t_ns[-1])
        return inside & (apart_ns(t_ns, seen_ns) <= within_s * NS_PER_S)

    def pictures(self, body: str, T_imu_body: Array | None = None) -> Trajectory:
        """A row per picture, of a body fixed to the device; the IMU itself by default."""
        return self._trajectory(body, self.t_ns, self.camera_t_ns, self.tracked, T_imu_body)

    def samples(self, body: str, T_imu_body: Array | None = None) -> Trajectory:
        """A row per IMU sample."""
        t_ns = self.imu.t_ns
        t_ns = t_ns[(t_ns >= self.states.t_ns[0]) & (t_ns <= self.states.t_ns[-1])]
        return self._trajectory(body, t_ns, t_ns, self.knows(t_ns), T_imu_body)

    def _trajectory(
        self, body: str, t_ns: Stamps, camera_t_ns: Stamps, tracked: NDArray[np.bool_], T_imu_body: Array | None
    ) -> Trajectory:
        T = np.full((len(t_ns), 4, 4), np.nan)
        cov = np.full((len(t_ns), 6, 6), np.nan)
        T[tracked] = bridge_poses(self.states, self.imu, t_ns[tracked])
        cov[tracked] = bridge_covariance(self.states, self.joint, T[tracked], t_ns[tracked], self.model, self.imu)
        if T_imu_body is not None:
            A = adjoint(inverse(T_imu_body))
            T, cov = T @ T_imu_body, A @ cov @ A.T
        return Trajectory(body, t_ns, camera_t_ns, T, cov, tracked)
