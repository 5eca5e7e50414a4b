"""What a take knows of its room that another take can find itself by: points, and how each one looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array
from handcap.reconstruct.landmarks import Landmarks, Observations
from handcap.reconstruct.merge import MergeParams, describe
from handcap.types import Stamps, Trajectory

Descriptors = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RoomParams:
    looks: tuple[float, ...] = (0.0, 0.5, 1.0)  # where in its track a point is described: a room is seen from all sides
    held_scale_sigma: float = 0.01  # of a take that was held in another's room
    most_points: int = 6000  # those seen most often: an hour-long take must not fill the disk of all later ones


@dataclass(frozen=True, eq=False, slots=True)
class Room:
    """Described points, in the world of their take.

    Attributes:
        p_world: (m, 3) m.
        cov_world: (m, 3, 3) m², of a point if all camera poses were exactly known.
        point: (k,) which of them each look shows.
        camera_t_ns: (k,) stamp of the picture it is taken from, as recorded.
        descriptor: (k, 32) upright ORB.
        scale_sigma: share by which all its distances may be off together.
    """

    p_world: Array
    cov_world: Array
    point: NDArray[np.int64]
    camera_t_ns: Stamps
    descriptor: Descriptors
    scale_sigma: float = 0.0

    def __post_init__(self) -> None:
        m, k = len(self.p_world), len(self.point)
        assert self.p_world.shape == (m, 3) and self.cov_world.shape == (m, 3, 3), self.cov_world.shape
        assert self.camera_t_ns.shape == (k,) and self.descriptor.shape == (k, 32), self.descriptor.shape
        assert not k or 0 <= self.point.min() <= self.point.max() < m, "a look at a point that is not there"

    def where(self, keep: NDArray[np.bool_]) -> Room:
        """Some of the looks, and the points they show."""
        points, point = np.unique(self.point[keep], return_inverse=True)
        return replace(
            self,
            p_world=self.p_world[points],
            cov_world=self.cov_world[points],
            point=point,
            camera_t_ns=self.camera_t_ns[keep],
            descriptor=self.descriptor[keep],
        )

    def posed(self, poses: Trajectory) -> Room:
        """Only looks from pictures whose pose is known."""
        return self.where(np.isin(self.camera_t_ns, poses.camera_t_ns[poses.tracked]))


class Looks:
    """Descriptors of a take's points, gathered as its keyframes' pictures come by for another purpose.

    Args:
        seen: sorted by track.
        marks: the points to describe.
        T_world_cam: (n, 4, 4) by keyframe, roughly.
    """

    def __init__(
        self,
        seen: Observations,
        marks: Landmarks,
        T_world_cam: Array,
        camera: Camera,
        merge: MergeParams | None = None,
        params: RoomParams | None = None,
    ) -> None:
        self.params = params or RoomParams()
        self._marks, self._T_world_cam, self._camera, self._merge = marks, T_world_cam, camera, merge
        placed = np.isin(seen.track, marks.track[np.isfinite(marks.p_world).all(axis=1)])
        seen = seen.where(placed)
        _, start, count = np.unique(seen.track, return_index=True, return_counts=True)
        rows = [start + np.rint(share * (count - 1)).astype(np.int64) for share in self.params.looks]
        self._wanted = seen.where(np.unique(np.concatenate(rows)))
        self._found: dict[int, dict[int, Descriptors]] = {}

    def see(self, keyframe: int, picture: NDArray[np.uint8]) -> None:
        """Describe what is to be described of this keyframe; seeing it again changes nothing."""
        if keyframe in self._found:
            return
        here = self._wanted.where(self._wanted.keyframe == keyframe)
        self._found[keyframe] = (
            describe([(keyframe, picture)], here, self._marks, self._T_world_cam, self._camera, self._merge)
            if len(here)
            else {}
        )

    def room(
        self,
        seen: Observations,
        marks: Landmarks,
        T_world_cam: Array,
        camera_t_ns: Stamps,
        sigma_px: float,
        scale_sigma: float,
    ) -> Room:
        """The described ones of the final points.

        Args:
            seen: final observations by this camera, sorted by track; points it does not see are left out.
            marks: final points, all placed, in the world they are wanted in.
            T_world_cam: (n, 4, 4) by keyframe, in that world.
            camera_t_ns: (n,) of the keyframes.
            sigma_px: of one coordinate of an observation.
            scale_sigma: of the take.
        """
        found = [(track, k, look) for k, looks in sorted(self._found.items()) for track, look in looks.items()]
        # What only another camera sees is as good a point, but this camera's view says nothing of how well it is known.
        here = set(np.intersect1d(marks.track, seen.track).tolist())
        found = [each for each in found if each[0] in here]
        track, keyframe = (np.array([each[i] for each in found], np.int64) for i in (0, 1))
        descriptor = np.array([each[2] for each in found], np.uint8).reshape(-1, 32)
        views = np.bincount(np.searchsorted(marks.track, seen.track), minlength=len(marks.track))
        best = np.sort(np.argsort(-views, kind="stable")[: self.params.most_points])
        keep = np.isin(track, marks.track[best])
        cov = point_covariance(seen, marks, T_world_cam, self._camera, sigma_px)
        room = Room(
            marks.p_world, cov, np.searchsorted(marks.track, track), camera_t_ns[keyframe], descriptor, scale_sigma
        )
        return room.where(keep)


def point_covariance(
    seen: Observations, marks: Landmarks, T_world_cam: Array, camera: Camera, sigma_px: float
) -> Array:
    """(m, 3, 3) m², world axes, of points triangulated from exactly known poses: inverse of their information.

    Args:
        seen: observations of `marks`, sorted by track.
        sigma_px: of one coordinate of an observation, independent of the others.
    """
    track, start = np.unique(seen.track, return_index=True)
    R, c = T_world_cam[seen.keyframe, :3, :3], T_world_cam[seen.keyframe, :3, 3]
    which = np.searchsorted(marks.track, seen.track)
    p_cam = np.einsum("kji,kj->ki", R, marks.p_world[which] - c)
    J = np.einsum("kai,kji->kaj", camera.derivative(p_cam), R) / sigma_px
    out = np.full((len(marks.track), 3, 3), np.inf)
    if len(track):
        information = np.add.reduceat(np.einsum("kai,kaj->kij", J, J), start) + 1e-4 * np.eye(3)
        out[np.searchsorted(marks.track, track)] = np.linalg.inv(information)
    return out
