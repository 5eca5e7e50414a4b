"""The cameras of one device at its keyframes: which picture each has there, and what it sees of the points that the
first one follows.

Features are followed in the first camera alone. Once the points are placed, the others need no following: the geometry
says where each must lie in their pictures, and a patch of the first one's picture is laid there (see `patches`). Two
views of a point at one time make its distance known whatever the device does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S, nanoseconds
from handcap.geometry import Array, project_to_so3, se3
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct.inertial import States
from handcap.reconstruct.landmarks import GateParams, Landmarks, Observations, ordered, thinned
from handcap.reconstruct.optics import Optics
from handcap.reconstruct.shutter import RollingShutter
from handcap.types import Frame, MountedCamera, Stamps

_LEAST_FOLLOWED = 40


class Pictures(Protocol):
    """Starts a camera's grey pictures from the beginning; of these stamps only, if any are given."""

    def __call__(self, only: Collection[int] | None = None) -> Iterator[Frame]: ...


@dataclass(frozen=True, eq=False, slots=True)
class Eye:
    """One camera of a device.

    Attributes:
        name: of the camera.
        mount: its calibration.
        camera_t_ns: stamps of all its pictures, as recorded.
        pictures: the pictures.
    """

    name: str
    mount: MountedCamera
    camera_t_ns: Stamps
    pictures: Pictures


@dataclass(frozen=True, slots=True)
class EyesParams:
    views: int = 8  # of a track, at most, in each of the other cameras
    border_px: float = 12.0  # no patch fits nearer to the edge
    least_fit: float = 0.3  # share of what is expected of a camera: with less it shows something else, or nothing
    aim_fit: float = 0.6  # with less, it may point elsewhere
    aim_keyframes: int = 12
    most_late_s: float = 0.01  # farther from the keyframe than this, a picture shows another moment


@dataclass(frozen=True, eq=False, slots=True)
class Eyes:
    """All cameras of a device that take part, at its keyframes.

    Attributes:
        eyes: the first one is followed.
        key_t_ns: (c, n) stamp of each one's picture at each keyframe, its own clock; -1 where it has none.
        late_s: (c, n) how much later than the first one's it was taken.
        gyro, dt_imu_cam_s: how the device turned, and the first camera's offset; coarse ones will do.
        params, gate: limits.
    """

    eyes: tuple[Eye, ...]
    key_t_ns: NDArray[np.int64]
    late_s: Array
    gyro: GyroRotation
    dt_imu_cam_s: float
    params: EyesParams
    gate: GateParams

    @classmethod
    def at(
        cls,
        key_t_ns: Stamps,
        eyes: Sequence[Eye],
        gyro: GyroRotation,
        dt_imu_cam_s: float,
        params: EyesParams,
        gate: GateParams,
    ) -> Eyes:
        """At the keyframes `key_t_ns` (n,) of the first; those with another kind of lens are left out.

        The cameras' clocks are taken to differ as their calibrations say.
        """
        first = eyes[0].mount
        kept, stamps, late = [eyes[0]], [key_t_ns], [np.zeros(len(key_t_ns))]
        for eye in eyes[1:]:
            if type(eye.mount.camera) is not type(first.camera) or not len(eye.camera_t_ns):
                continue
            wanted = key_t_ns + nanoseconds(first.dt_imu_cam_s - eye.mount.dt_imu_cam_s)
            right = np.searchsorted(eye.camera_t_ns, wanted)
            around = eye.camera_t_ns[np.clip(np.c_[right - 1, right], 0, len(eye.camera_t_ns) - 1)]
            nearest = around[np.arange(len(wanted)), np.argmin(np.abs(around - wanted[:, None]), axis=1)]
            late_s = (nearest - wanted) / NS_PER_S
            there = np.abs(late_s) <= params.most_late_s
            kept.append(eye)
            stamps.append(np.where(there, nearest, -1))
            late.append(np.where(there, late_s, 0.0))
        return cls(tuple(kept), np.array(stamps), np.array(late), gyro, dt_imu_cam_s, params, gate)

    @property
    def optics(self) -> Optics:
        return Optics.mounted([eye.mount for eye in self.eyes])

    def pictures(self) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """Camera, keyframe and picture, one camera after the other."""
        for c in range(len(self.eyes)):
            for k, picture in self._pictures(c, np.arange(self.key_t_ns.shape[1])):
                yield c, k, picture

    def _pictures(self, c: int, keyframes: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Keyframe and picture of camera `c` at those of `keyframes` where it has one that decodes."""
        keyframe = {int(self.key_t_ns[c][k]): int(k) for k in keyframes if self.key_t_ns[c][k] >= 0}
        for frame in self.eyes[c].pictures(keyframe.keys()):
            yield keyframe[frame.t_ns], frame.image

    def moved_back(self, seen: Observations, states: States) -> Observations:
        """Every observation where it would be, were all cameras' pictures taken whole at the first one's stamps."""
        parts = [
            self._shutter(c).moved_back(
                seen.where(seen.camera == c), states, self.key_t_ns[0], self.gate, self.late_s[c]
            )
            for c in range(len(self.eyes))
        ]
        return parts[0] if len(parts) == 1 else ordered(parts)

    def expected(self, seen: Observations, marks: Landmarks, states: States) -> Observations:
        """`seen` by the first camera, and where the others should see the same points.

        Args:
            seen: sorted; each track one of `marks`.
            states: (n,) keyframes.
        """
        fewer, _ = thinned(seen, self.params.views)
        p_world = marks.p_world[np.searchsorted(marks.track, fewer.track)]
        parts = [seen]
        for c, eye in enumerate(self.eyes[1:], start=1):
            T_world_cam = (states.T_world_imu @ eye.mount.T_imu_cam)[fewer.keyframe]
            p_cam = np.einsum("kji,kj->ki", T_world_cam[:, :3, :3], p_world - T_world_cam[:, :3, 3])
            camera = eye.mount.camera
            (pixel, valid), (recorded, also) = (
                camera.project(p_cam),
                self._shutter(c).recorded(p_cam, fewer.keyframe, states, self.key_t_ns[0], self.late_s[c]),
            )
            valid &= also & (self.key_t_ns[c][fewer.keyframe] >= 0)
            valid &= camera.in_picture(np.where(valid[:, None], recorded, -1.0), self.params.border_px)
            ray = p_cam / np.linalg.norm(p_cam, axis=1, keepdims=True)
            which = np.full(len(fewer), c)
            parts.append(replace(fewer, pixel=pixel, ray=ray, recorded_px=recorded, camera=which).where(valid))
        return ordered(parts)

    def aimed(self, c: int, expected: Observations) -> MountedCamera | None:
        """Camera `c`, turned on its mount so that it sees what is `expected` of it; None if that cannot be told.

        Features are followed from the first camera's picture into this one's, as far as a pyramid of pictures reaches.
        """
        first, other = (expected.where(expected.camera == k) for k in (0, c))
        wanted = np.unique(other.keyframe)
        wanted = wanted[np.linspace(0, len(wanted) - 1, min(self.params.aim_keyframes, len(wanted))).astype(int)]
        pictures = [dict(self._pictures(of, wanted)) for of in (0, c)]
        there, seen = [], []
        for k in wanted.tolist():
            _, i, j = np.intersect1d(
                np.where(first.keyframe == k, first.track, -1),
                np.where(other.keyframe == k, other.track, -2),
                return_indices=True,
            )
            if k not in pictures[0] or k not in pictures[1] or len(i) < 8:
                continue
            found, good = _followed(pictures[0][k], pictures[1][k], first.recorded_px[i], other.recorded_px[j])
            ray, valid = self.eyes[c].mount.camera.unproject(found)
            good &= valid
            there.append(other.ray[j][good])
            seen.append(ray[good])
        R = _turn(np.concatenate([*seen, np.zeros((0, 3))]), np.concatenate([*there, np.zeros((0, 3))]))
        if R is None:
            return None
        mount = self.eyes[c].mount
        return replace(mount, T_imu_cam=mount.T_imu_cam @ se3(R, np.zeros(3)))

    def _shutter(self, c: int) -> RollingShutter:
        return RollingShutter(self.eyes[c].mount, self.gyro, self.dt_imu_cam_s)


def _followed(
    picture: NDArray[np.uint8], other: NDArray[np.uint8], px: Array, guess: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """(k, 2) where features of a picture lie in the other one, and which are found again on the way back."""
    window: dict[str, Any] = {"winSize": (31, 31), "maxLevel": 4, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    start, there = px.astype(np.float32), guess.astype(np.float32)
    found, forward, _ = cv2.calcOpticalFlowPyrLK(picture, other, start, there.copy(), **window)
    back, backward, _ = cv2.calcOpticalFlowPyrLK(other, picture, found, start.copy(), **window)
    good = (forward.ravel() == 1) & (backward.ravel() == 1) & (np.linalg.norm(back - start, axis=1) < 1.0)
    return found.astype(float), good


def _turn(ray: Array, wanted: Array) -> Array | None:
    """(3, 3) R with wanted ≈ R ray for most rows (k, 3), all unit; None if there is no such turn."""
    keep = np.ones(len(ray), bool)
    R = np.eye(3)
    for _ in range(6):
        if keep.sum() < _LEAST_FOLLOWED:
            return None
        R = project_to_so3(wanted[keep].T @ ray[keep])
        off = np.linalg.norm(wanted - ray @ R.T, axis=1)
        keep = off < max(3 * float(np.median(off[keep])), 0.002)
    return R if keep.mean() > 0.5 else None
