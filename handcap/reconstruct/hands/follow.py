"""Hands followed through the pictures of a head's cameras: rays to joints, picture by picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from handcap.geometry import Array, inverse, transform
from handcap.reconstruct.hands import identity
from handcap.reconstruct.hands.detector import HandDetector, Landmarks, Picture
from handcap.reconstruct.hands.virtual_view import VirtualView
from handcap.types import MountedCamera, Side


@dataclass(frozen=True, slots=True)
class FollowParams:
    """How hands are looked for."""

    look_every_s: float = 0.25  # full looks while a hand is lost: a hand that comes in is found at once to the eye
    look_half_rad: float = 0.75  # of one full look: the palm detector sees 192 px, a hand must be 30 of them
    look_px: int = 384
    look_side_rad: float = 0.5  # two looks, left and right
    look_down_rad: float = 0.25  # hands work below the gaze
    crop_px: int = 256  # the landmark network sees 224
    crop_share: float = 1.5  # half of the crop over half of the hand
    least_half_rad: float = 0.12
    most_half_rad: float = 0.9
    arm_m: float = 0.45  # where a hand is looked for that only the other camera has
    least_support: float = -3.0  # log odds under which a followed hand is not this side's


@dataclass(frozen=True, eq=False, slots=True)
class Sighting:
    """One hand in one picture: (21, 3) unit rays and (21, 3) relative shape, m, both in camera axes; size in rad."""

    rays_cam: Array
    relative_cam_m: Array
    size_rad: float
    right: float


@dataclass(eq=False, slots=True)
class _Track:
    last: Sighting
    before: Sighting | None = None


@dataclass(eq=False, slots=True)
class Follower:
    """Follows both hands; `step` takes one picture of every camera that has one."""

    detector: HandDetector
    mounts: Mapping[str, MountedCamera]
    sides: Sequence[Side]
    params: FollowParams = field(default_factory=FollowParams)
    _tracks: dict[tuple[str, Side], _Track] = field(default_factory=dict)
    _belief: dict[Side, float] = field(default_factory=dict)  # log odds for the right hand, all cameras together
    _looked_ns: int | None = None

    def step(self, pictures: Mapping[str, Picture], t_ns: int) -> dict[tuple[str, Side], Sighting]:
        """What is seen at one time, by camera and side."""
        seen: dict[tuple[str, Side], Sighting] = {}
        for key in [k for k in self._tracks if k[0] in pictures]:
            found = self._followed(key, pictures[key[0]], t_ns)
            if found is None:
                del self._tracks[key]
            else:
                seen[key] = found
        self._drop_doubles(seen)
        for camera in pictures:
            for side in self.sides:
                if (camera, side) not in seen:
                    self._take_over(camera, side, pictures, t_ns, seen)
        self._drop_doubles(seen)
        lost: list[Side] = [side for side in self.sides if not any((camera, side) in seen for camera in pictures)]
        if lost and (self._looked_ns is None or t_ns - self._looked_ns >= self.params.look_every_s * 1e9):
            self._looked_ns = t_ns
            for camera, picture in pictures.items():
                self._look(camera, picture, lost, seen)
            self._drop_doubles(seen)
        return seen

    def _followed(self, key: tuple[str, Side], picture: Picture, t_ns: int) -> Sighting | None:
        side = key[1]
        track = self._tracks[key]
        centre = track.last.rays_cam.mean(axis=0)
        if track.before is not None:
            centre = 2 * centre - track.before.rays_cam.mean(axis=0)
        found = self._in_crop(key, picture, centre, track.last.size_rad, t_ns)
        if found is None:
            return None
        self._belief[side] = identity.gathered(self._belief[side], found.right)
        if identity.supports(self._belief[side], side) < self.params.least_support:
            return None
        self._tracks[key] = _Track(found, track.last)
        return found

    def _in_crop(
        self, key: tuple[str, Side], picture: Picture, centre_cam: Array, size_rad: float, t_ns: int
    ) -> Sighting | None:
        p = self.params
        half = float(np.clip(p.crop_share * size_rad / 2, p.least_half_rad, p.most_half_rad))
        view = VirtualView.towards(centre_cam, half, p.crop_px)
        lens = self.mounts[key[0]].camera
        found = self.detector.follow("/".join(key), view.cut(picture, lens), t_ns)
        return None if found is None else self._sighting(found, view, key[0])

    def _take_over(
        self,
        camera: str,
        side: Side,
        pictures: Mapping[str, Picture],
        t_ns: int,
        seen: dict[tuple[str, Side], Sighting],
    ) -> None:
        """Look where another camera sees the hand."""
        other = next((c for c in pictures if c != camera and (c, side) in seen), None)
        if other is None:
            return
        there = seen[other, side]
        T_cam_other = inverse(self.mounts[camera].T_imu_cam) @ self.mounts[other].T_imu_cam
        centre = there.rays_cam.mean(axis=0)
        p_cam = transform(T_cam_other, centre / np.linalg.norm(centre) * self.params.arm_m)
        pixel, valid = self.mounts[camera].camera.project(p_cam)
        if not valid or not self.mounts[camera].camera.in_picture(pixel):
            return
        found = self._in_crop((camera, side), pictures[camera], p_cam, 1.4 * there.size_rad, t_ns)
        if found is not None:
            seen[camera, side] = found
            self._tracks[camera, side] = _Track(found)
            self._belief[side] = identity.gathered(self._belief[side], found.right)

    def look(self, camera: str, picture: Picture) -> list[Sighting]:
        """Every hand in a picture."""
        p, lens = self.params, self.mounts[camera].camera
        found: list[Sighting] = []
        for turn in (-p.look_side_rad, p.look_side_rad):
            ray = np.array([np.sin(turn), np.sin(p.look_down_rad), np.cos(turn)])
            view = VirtualView.towards(ray, p.look_half_rad, p.look_px)
            for hand in self.detector.look(view.cut(picture, lens)):
                sighting = self._sighting(hand, view, camera)
                if sighting and not any(identity.same_hand(sighting.rays_cam, s.rays_cam) for s in found):
                    found.append(sighting)
        return found

    def _look(
        self, camera: str, picture: Picture, lost: Sequence[Side], seen: dict[tuple[str, Side], Sighting]
    ) -> None:
        known = [s for (c, _), s in seen.items() if c == camera]
        new = [
            s for s in self.look(camera, picture) if not any(identity.same_hand(s.rays_cam, k.rays_cam) for k in known)
        ]
        taken = identity.assigned([s.right for s in new], [float(s.rays_cam[:, 0].mean()) for s in new], lost)
        for side, k in taken.items():
            seen[camera, side] = new[k]
            self._tracks[camera, side] = _Track(new[k])
            self._belief[side] = identity.gathered(0.0, new[k].right)

    def _sighting(self, found: Landmarks, view: VirtualView, camera: str) -> Sighting | None:
        rays = view.rays_cam(found.pixel)
        pixel, valid = self.mounts[camera].camera.project(rays)
        inside = valid & self.mounts[camera].camera.in_picture(pixel)
        if inside.mean() < 0.6:
            return None
        middle = rays.mean(axis=0)
        size = 2 * float(np.linalg.norm(rays - middle, axis=1).max())
        return Sighting(rays, found.relative_m @ view.R_cam_view.T, size, found.right)

    def _drop_doubles(self, seen: dict[tuple[str, Side], Sighting]) -> None:
        """Two sides on one hand: the side that the network has said less often goes."""
        for camera in {c: None for c, _ in seen}:
            pair: list[tuple[str, Side]] = [key for key in seen if key[0] == camera]
            if len(pair) == 2 and identity.same_hand(seen[pair[0]].rays_cam, seen[pair[1]].rays_cam):
                worse = min(pair, key=lambda key: identity.supports(self._belief[key[1]], key[1]))
                del seen[worse], self._tracks[worse]


def holds_hands(follower: Follower, camera: str, pictures: Iterable[Picture]) -> bool:
    """Whether any of some pictures shows a hand."""
    return any(follower.look(camera, picture) for picture in pictures)
