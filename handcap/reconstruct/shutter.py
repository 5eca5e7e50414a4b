"""Rolling shutter: where features would be if the whole picture had been taken at its stamp.

Rows are exposed one after the other, the middle one at the stamp. By the time of a late row the camera has turned and
moved on. The turning is known from the gyroscope, whatever the distance; the moving shows by how far away a feature is,
so it is made good once there is a solution, and again with every better one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.inertial import States
from handcap.reconstruct.landmarks import GateParams, Observations, triangulate, with_views
from handcap.types import MountedCamera, Stamps


@dataclass(frozen=True, eq=False, slots=True)
class RollingShutter:
    """The shutter of one camera, and how the camera turns.

    Attributes:
        mount: the camera; `mount.line_delay_s` is 0 for a global shutter, for which nothing is changed.
        gyro: the IMU's rotation over time.
        dt_imu_cam_s: t_imu = t_camera + dt; a coarse one will do.
    """

    mount: MountedCamera
    gyro: GyroRotation
    dt_imu_cam_s: float

    @property
    def _camera(self) -> Camera:
        return self.mount.camera

    def turned_back(self, tracks: Tracks) -> Tracks:
        """Tracks as a camera would see them that turns, but does not move, while it reads out its rows."""
        if not self.mount.line_delay_s:
            return tracks
        late_s = self.mount.late_s(tracks.pixel)
        return replace(tracks, pixel=self._turned_back(tracks.pixel, tracks.camera_t_ns[tracks.frame], late_s))

    def _turned_back(self, pixel: Array, camera_t_ns: Stamps, late_s: Array) -> Array:
        ray, valid = self._camera.unproject(pixel)
        there, in_lens = self._camera.project(np.einsum("kij,kj->ki", self._turned(camera_t_ns, late_s), ray))
        return np.where((valid & in_lens)[:, None], there, pixel)

    def _turned(self, camera_t_ns: Stamps, late_s: Array) -> Array:
        """(k, 3, 3) R_stamp_late: the camera's axes so much later than its stamps, in those at the stamps."""
        R_imu_cam, late_ns = self.mount.T_imu_cam[:3, :3], nanoseconds(late_s)
        late, at_stamp = (self.gyro.at(t_ns, self.dt_imu_cam_s) for t_ns in (camera_t_ns + late_ns, camera_t_ns))
        return R_imu_cam.T @ (at_stamp.inv() * late).as_matrix() @ R_imu_cam

    def recorded(
        self, p_cam: Array, keyframe: NDArray[np.int64], states: States, camera_t_ns: Stamps, picture_late_s: Array
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Where points (k, 3), in the axes of the camera at the keyframe's stamp, lie in its picture.

        Args:
            states, camera_t_ns, picture_late_s: by keyframe, as for `moved_back`.
        """
        pixel, valid = self._camera.project(p_cam)
        if not self.mount.line_delay_s and not picture_late_s.any():
            return pixel, valid
        velocity = self._velocity_cam(states, camera_t_ns)[keyframe]
        for _ in range(2):  # its row says when, and when says its row
            late_s = np.where(valid, self.mount.late_s(pixel), 0.0) + picture_late_s[keyframe]
            R_stamp_late = self._turned(camera_t_ns[keyframe], late_s)
            later = np.einsum("kji,kj->ki", R_stamp_late, p_cam - velocity * late_s[:, None])
            pixel, valid = self._camera.project(later)
        return pixel, valid

    def moved_back(
        self,
        seen: Observations,
        states: States,
        camera_t_ns: Stamps,
        params: GateParams,
        picture_late_s: Array | None = None,
    ) -> Observations:
        """Observations with the camera's turning and moving made good, as far as a solution tells their distance.

        Args:
            seen: by this camera, by keyframe, in any state of correction.
            states: (n,) keyframes.
            camera_t_ns: (n,) their stamps on the camera's clock.
            params: of the triangulation.
            picture_late_s: (n,) how much later than those stamps this camera's pictures were taken.
        """
        if not self.mount.line_delay_s and (picture_late_s is None or not picture_late_s.any()):
            return seen
        recorded = seen.recorded_px
        late_s = self.mount.late_s(recorded)
        if picture_late_s is not None:
            late_s = late_s + picture_late_s[seen.keyframe]
        pixel = self._turned_back(recorded, camera_t_ns[seen.keyframe], late_s)
        T_world_cam = states.T_world_imu @ self.mount.T_imu_cam
        several = with_views(seen, 2)
        marks, _ = triangulate(several, T_world_cam, self._camera, params)
        row = np.minimum(np.searchsorted(marks.track, seen.track), max(len(marks.track) - 1, 0))
        placed = (marks.track[row] == seen.track) & np.isfinite(marks.p_world[row]).all(axis=1)
        R = T_world_cam[seen.keyframe, :3, :3]
        p_cam = np.einsum("kji,kj->ki", R, marks.p_world[row] - T_world_cam[seen.keyframe, :3, 3])
        moved = p_cam - self._velocity_cam(states, camera_t_ns)[seen.keyframe] * late_s[:, None]
        (at_stamp, ok), (at_row, also_ok) = self._camera.project(p_cam), self._camera.project(moved)
        shift = np.where((placed & ok & also_ok)[:, None], at_row - at_stamp, 0.0)
        pixel = pixel - shift
        ray, valid = self._camera.unproject(pixel)
        return replace(seen, pixel=pixel, ray=ray).where(valid)

    def _velocity_cam(self, states: States, camera_t_ns: Stamps) -> Array:
        """(n, 3) m/s of each keyframe's camera, its own axes; the way from IMU to camera turns with the head."""
        R_imu_cam, p_imu_cam = self.mount.T_imu_cam[:3, :3], self.mount.T_imu_cam[:3, 3]
        step_s = 0.002
        before, after = (self.gyro.at(camera_t_ns, self.dt_imu_cam_s + sign * step_s) for sign in (-1, 1))
        rate_imu = (before.inv() * after).as_rotvec() / (2 * step_s)
        v_imu = np.einsum("nji,nj->ni", states.T_world_imu[:, :3, :3], states.velocity_world)
        return (v_imu + np.cross(rate_imu, p_imu_cam)) @ R_imu_cam
