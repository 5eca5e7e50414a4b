"""Hands followed through the pictures of a head's cameras.

Where a hand was in the world says where each camera sees it next, however the head turns. The landmark network is
shown just that piece of each picture; what it answers places the hand anew, from both views. Palms are looked for only
while a hand is lost, and a hand found late is followed back to where it came in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from handcap.cameras import Camera
from handcap.geometry import Array, inverse, transform
from handcap.reconstruct.hands import bones, identity
from handcap.reconstruct.hands.detector import HandDetector, Landmarks, Picture
from handcap.reconstruct.hands.fit import FitParams, fitted
from handcap.reconstruct.hands.sighting import Sighting, agree, views_of
from handcap.reconstruct.hands.skin import SkinParams, skin_distance
from handcap.reconstruct.hands.virtual_view import VirtualView
from handcap.types import MountedCamera, Side


@dataclass(frozen=True, slots=True)
class FollowParams:
    """How hands are looked for."""

    skin: SkinParams = field(default_factory=SkinParams)
    look_every_s: float = 0.25  # full looks while a hand is lost: a hand that comes in is found at once to the eye
    look_half_rad: float = 0.75  # of one full look: the palm detector sees 192 px, a hand must be 30 of them
    look_px: int = 384
    look_side_rad: float = 0.5  # two looks, left and right
    look_down_rad: float = 0.25  # hands work below the gaze
    narrow_rad: float = 0.7  # from the axis to the corner: a lens whose whole picture is one look
    cut_px: int = 224  # what the landmark network sees
    cuts: int = 3  # of one picture, until the hand lies in the cut as it should
    least_presence: float = 0.5
    # Less sure than this, or of the other side, or unlike what was expected, the network is asked again with the cut
    # mirrored, turned, and wider: its answers place the next cuts, so a wrong one leads to others, until the hand is
    # lost.
    sure_presence: float = 0.9
    turns_rad: tuple[float, ...] = (-0.52, 0.52)
    wider: float = 1.25
    less_sure: float = 0.05  # by which a cut that should fit better is worse
    # Unlike what was expected, see `_apart`: a hand changes by 0.15 from picture to picture (median of six virtual
    # takes), 0.3 to 0.5 once in twenty; 1 is another hand, or its other side.
    other_shape: float = 0.4
    as_good: float = 0.8  # as the first answer, the mirrored one counts as well
    least_inside: float = 0.6  # of the joints that must lie in a picture
    most_miss_rad: float = 0.03  # median between two views; beyond, they do not see one hand
    coast_s: float = 0.3  # for which a hand that is not recognised is still expected where it was
    back_s: float = 3.0  # for which pictures are kept, to follow a hand found late back to where it came in
    most_speed_m_s: float = 2.0  # of a hand at work
    most_off_m: float = 0.15  # beyond that, of where it was expected
    reach_m: float = 1.1  # from the eyes
    size_sigma: float = 0.15  # of a hand before the wearer's is known
    least_support: float = -3.0  # log odds under which a followed hand is not this side's


@dataclass(frozen=True, eq=False, slots=True)
class Moment:
    """One picture of every camera that has one.

    Attributes:
        row: of the take's pictures.
        pictures: RGB, by camera.
        T_world_imu: (4, 4) of the head.
    """

    row: int
    t_ns: int
    pictures: Mapping[str, Picture]
    T_world_imu: Array


@dataclass(frozen=True, eq=False, slots=True)
class _Track:
    """One hand: (21, 3) where its joints were last, m/s it moves by, log odds for the right hand."""

    joints: Array
    velocity: Array
    t_ns: int
    belief: float


Row = dict[tuple[str, Side], Sighting]
_Answer = TypeVar("_Answer")


@dataclass(eq=False, slots=True)
class Follower:
    """Follows both hands; `step` takes the moments in their order, and asks about its cameras in `pool` at once."""

    detector: HandDetector
    mounts: Mapping[str, MountedCamera]
    sides: Sequence[Side]
    rows: int
    params: FollowParams = field(default_factory=FollowParams)
    pool: Executor | None = None
    seen: list[Row] = field(init=False)  # by row of the take, what is known so far
    _support: list[dict[Side, float]] = field(init=False)  # by row, log odds with which each side was followed there
    _tracks: dict[Side, _Track] = field(default_factory=dict)
    _before: dict[Side, _Track] = field(default_factory=dict)  # as they were before this moment
    _past: deque[Moment] = field(default_factory=deque)
    _looked_ns: int | None = None
    _looks: int = 0

    def __post_init__(self) -> None:
        self.seen = [{} for _ in range(self.rows)]
        self._support = [{} for _ in range(self.rows)]

    def step(self, moment: Moment) -> None:
        """What is seen at one time is added to `seen`, and what that says of the moments before."""
        due = self._looked_ns is None or moment.t_ns - self._looked_ns >= self.params.look_every_s * 1e9
        lost: list[Side] = []
        self._before = dict(self._tracks)
        for side in self.sides:
            track = self._tracks.get(side)
            coasts = track is not None and moment.t_ns - track.t_ns <= self.params.coast_s * 1e9
            on = self._onwards(track, side, moment) if track is not None and (coasts or due) else None
            if on is None:
                if not coasts:
                    lost.append(side)
                continue
            self._tracks[side] = on
            if not coasts:
                self._back(on, side)
        if lost and due:
            self._looked_ns = moment.t_ns
            for side, track in self._looked(lost, moment).items():
                self._tracks[side] = track
                self._back(track, side)
        self._past.append(moment)
        while moment.t_ns - self._past[0].t_ns > self.params.back_s * 1e9:
            self._past.popleft()

    def look(self, camera: str, picture: Picture) -> list[Sighting]:
        """Every hand in a picture."""
        lens = self.mounts[camera].camera
        found: list[Sighting] = []
        for view in self._look_views(lens):
            for hand in self.detector.look(view.cut(picture, lens)):
                sighting = self._sighting(hand, view, camera)
                if sighting and not any(identity.same_hand(sighting.rays_cam, s.rays_cam) for s in found):
                    found.append(sighting)
        return found

    def _look_views(self, lens: Camera) -> list[VirtualView]:
        """Where to look: left and right below the gaze, or at the whole picture of a narrow lens."""
        p = self.params
        edges = np.array([[0, lens.height / 2], [lens.width / 2, 0], [lens.width - 1, lens.height - 1]])
        rays, valid = lens.unproject(edges)
        half_rad = float(np.arccos(np.clip(rays[:, 2].min(), -1, 1))) if valid.all() else np.pi
        if half_rad < p.narrow_rad:
            return [VirtualView.towards(np.array([0.0, 0.0, 1.0]), half_rad, p.look_px)]
        rays = [[np.sin(turn), np.sin(p.look_down_rad), np.cos(turn)] for turn in (-p.look_side_rad, p.look_side_rad)]
        return [VirtualView.towards(np.array(ray), p.look_half_rad, p.look_px) for ray in rays]

    def _looked(self, lost: Sequence[Side], moment: Moment) -> dict[Side, _Track]:
        """Hands that come in, found in one camera, in turns, and then followed as all are."""
        cameras = list(moment.pictures)
        camera = cameras[self._looks % len(cameras)]
        self._looks += 1
        known = [s for (c, _), s in self.seen[moment.row].items() if c == camera]
        new = [
            s
            for s in self.look(camera, moment.pictures[camera])
            if not any(identity.same_hand(s.rays_cam, k.rays_cam) for k in known)
        ]
        taken = identity.assigned([s.right for s in new], [float(s.rays_cam[:, 0].mean()) for s in new], lost)
        out: dict[Side, _Track] = {}
        for side, k in taken.items():
            joints = self._placed({camera: new[k]}, moment)
            start = _Track(joints, np.zeros(3), moment.t_ns, identity.gathered(0.0, new[k].right))
            on = self._onwards(start, side, moment)
            if on is not None:
                out[side] = on
        return out

    def _back(self, track: _Track, side: Side) -> None:
        """Follow a hand just found into the past, until it is known there or lost."""
        track = replace(track, velocity=np.zeros(3))
        for moment in reversed(self._past):
            if any(of == side for _, of in self.seen[moment.row]):
                return
            on = self._onwards(track, side, moment)
            if on is not None:
                track = on
            elif abs(moment.t_ns - track.t_ns) > self.params.coast_s * 1e9:
                return

    def _onwards(self, track: _Track, side: Side, moment: Moment) -> _Track | None:
        """The hand at another moment, later or earlier; None where it is not recognised."""
        apart_s = (moment.t_ns - track.t_ns) / 1e9
        expected = track.joints + track.velocity * (apart_s if abs(apart_s) <= self.params.coast_s else 0.0)
        support = identity.supports(track.belief, side)
        found = self._expected(expected, side, support, moment)
        if not found and np.any(expected != track.joints):  # it may have stopped
            expected = track.joints
            found = self._expected(expected, side, support, moment)
        if not found:
            return None
        right = float(np.mean([s.right for s in found.values()]))
        belief = identity.gathered(track.belief, right)
        if identity.supports(belief, side) < self.params.least_support:
            return None
        found = self._with_skin(found, expected, moment)
        joints = self._placed(found, moment)
        if len(found) == 1 and not next(iter(found.values())).measured:
            joints = self._at_distance(next(iter(found)), joints, track.joints, moment)
        if not self._within_reach(joints, None if apart_s == 0.0 else track, moment):
            return None
        for camera, sighting in found.items():
            self._take_over(camera, side, sighting, moment)
            self.seen[moment.row][camera, side] = sighting
        self._support[moment.row][side] = identity.supports(belief, side)
        if apart_s != 0.0 and max(s.presence for s in found.values()) < self.params.sure_presence:
            # The next cuts are for a hand as it was surely seen.
            joints = track.joints + (joints - track.joints).mean(axis=0)
        if apart_s == 0.0:
            return _Track(joints, track.velocity, moment.t_ns, belief)
        moved = (joints - track.joints).mean(axis=0) / apart_s
        velocity = (track.velocity + moved) / 2
        velocity *= min(1.0, self.params.most_speed_m_s / max(float(np.linalg.norm(velocity)), 1e-6))
        return _Track(joints, velocity, moment.t_ns, belief)

    def _expected(self, expected: Array, side: Side, support: float, moment: Moment) -> dict[str, Sighting]:
        """What every camera sees of the hand where it is expected, views of a hand surer to be the other left out."""
        answers = self._of_each(moment.pictures, lambda camera: self._refined(camera, expected, side, moment))
        found = {camera: sighting for camera, sighting in answers.items() if sighting is not None}
        if len(found) > 1 and not agree(found, self.mounts, self.params.most_miss_rad):
            found = self._reconciled(found, expected, side, moment)
        surer = {of for of, other in self._support[moment.row].items() if of != side and other >= support}
        return {camera: s for camera, s in found.items() if not self._claimed(camera, s, moment) & surer}

    def _within_reach(self, joints: Array, track: _Track | None, moment: Moment) -> bool:
        """Whether a hand can be there, and can have come there from where it was."""
        p, middle = self.params, joints.mean(axis=0)
        if float(np.linalg.norm(middle - moment.T_world_imu[:3, 3])) > p.reach_m:
            return False
        if track is None:
            return True
        moved_m = float(np.linalg.norm(middle - track.joints.mean(axis=0)))
        return moved_m < p.most_off_m + p.most_speed_m_s * abs(moment.t_ns - track.t_ns) / 1e9

    def _with_skin(self, found: Mapping[str, Sighting], expected: Array, moment: Moment) -> dict[str, Sighting]:
        """Sightings that say how far the hand is, where another camera made a picture of this moment."""
        if len(moment.pictures) < 2:
            return dict(found)
        about = self._placed(found, moment) if len(found) > 1 else expected

        def measured(camera: str) -> Sighting:
            other = next(c for c in moment.pictures if c != camera)
            mounts = self.mounts[camera], self.mounts[other]
            eye = (moment.T_world_imu @ mounts[0].T_imu_cam)[:3, 3]
            far_m = float(np.linalg.norm(about.mean(axis=0) - eye))
            pictures = moment.pictures[camera], moment.pictures[other]
            skin_m = skin_distance(pictures, mounts, found[camera].rays_cam, far_m, self.params.skin)
            return replace(found[camera], skin_m=skin_m)

        return self._of_each(found, measured)

    def _of_each(self, cameras: Iterable[str], ask: Callable[[str], _Answer]) -> dict[str, _Answer]:
        """What is asked about each camera, in their order."""
        cameras = list(cameras)
        answers = map(ask, cameras) if self.pool is None else self.pool.map(ask, cameras)
        return dict(zip(cameras, answers, strict=True))

    def _at_distance(self, camera: str, joints: Array, before: Array, moment: Moment) -> Array:
        """The joints as far from the only camera that sees them as they were before: it hardly sees how far."""
        eye = (moment.T_world_imu @ self.mounts[camera].T_imu_cam)[:3, 3]
        far, wanted = (np.linalg.norm(p.mean(axis=0) - eye) for p in (joints, before))
        return eye + (joints - eye) * (wanted / max(float(far), 1e-6))

    def _reconciled(
        self, found: dict[str, Sighting], expected: Array, side: Side, moment: Moment
    ) -> dict[str, Sighting]:
        """Two views that are not of one hand: the one farther from what was expected is cut anew, by the other."""

        def surprise(camera: str) -> float:
            rays = self._rays(camera, expected, moment)
            return float(np.linalg.norm(found[camera].rays_cam - rays, axis=1).mean())

        worse, better = sorted(found, key=surprise, reverse=True)[:2]
        kept = {better: found[better]}
        again = self._refined(worse, self._placed(kept, moment), side, moment)
        if again is not None:
            both = {c: kept[c] if c == better else again for c in found}
            if agree(both, self.mounts, self.params.most_miss_rad):
                return both
        return kept

    def _claimed(self, camera: str, sighting: Sighting, moment: Moment) -> set[Side]:
        """The sides that follow this very hand in this picture."""
        out: set[Side] = set()
        for (other_camera, side), other in self.seen[moment.row].items():
            if other_camera == camera and identity.same_hand(sighting.rays_cam, other.rays_cam):
                out.add(side)
        return out

    def _take_over(self, camera: str, side: Side, sighting: Sighting, moment: Moment) -> None:
        """Takes a hand from the other side that took it for its own, less sure, and is again where it was before."""
        for of in self._claimed(camera, sighting, moment) - {side}:
            del self.seen[moment.row][camera, of]
            if any(other == of for _, other in self.seen[moment.row]):
                continue
            del self._support[moment.row][of]
            if of in self._tracks and self._tracks[of].t_ns == moment.t_ns:
                del self._tracks[of]
                if of in self._before:
                    self._tracks[of] = self._before[of]

    def _rays(self, camera: str, joints: Array, moment: Moment) -> Array:
        p_cam = transform(inverse(moment.T_world_imu @ self.mounts[camera].T_imu_cam), joints)
        return p_cam / np.maximum(np.linalg.norm(p_cam, axis=1, keepdims=True), 1e-6)

    def _refined(self, camera: str, joints: Array, side: Side, moment: Moment) -> Sighting | None:
        """What the network sees of the hand expected here, in the cut that it answers best."""
        p, lens = self.params, self.mounts[camera].camera
        rays = self._rays(camera, joints, moment)
        pixel, valid = lens.project(rays)
        if (valid & lens.in_picture(pixel)).mean() < p.least_inside:
            return None
        shape = (joints - joints.mean(axis=0)) @ (moment.T_world_imu @ self.mounts[camera].T_imu_cam)[:3, :3]

        def worth(sighting: Sighting) -> float:
            return sighting.presence * min(2 * sighting.belief(side), 1.0) * self._likeness(sighting, shape)

        view = VirtualView.upright(rays, p.cut_px)
        best = self._cut(camera, view, moment)
        others = [(view, True), *((view.turned(turn), False) for turn in p.turns_rad), (view.wider(p.wider), False)]
        for other, mirrored in others:
            if best is not None and worth(best) >= p.sure_presence:
                break
            again = self._cut(camera, other, moment, mirrored)
            if again is not None and (best is None or worth(again) > worth(best)):
                best = again
        if best is None:
            return None
        twin = self._answer(camera, VirtualView.upright(best.rays_cam, p.cut_px), moment, mirrored=True)
        if twin is None or worth(twin) <= p.as_good * worth(best):
            return best
        return best if _apart(twin.relative_cam_m, best.relative_cam_m) > p.other_shape else _mean(best, twin)

    def _likeness(self, sighting: Sighting, shape: Array) -> float:
        """1 for a hand as it was expected, less for one that stands otherwise: seen from its edge, it is soon taken
        for one seen from the other side.
        """
        beyond = max(_apart(sighting.relative_cam_m, shape) / self.params.other_shape - 1, 0.0)
        return 1 / (1 + beyond**2)

    def _cut(self, camera: str, view: VirtualView, moment: Moment, mirrored: bool = False) -> Sighting | None:
        """What the network sees in a cut; cut again until hand and cut fit, or it is less sure."""
        p = self.params
        sighting: Sighting | None = None
        for _ in range(p.cuts):
            again = self._answer(camera, view, moment, mirrored)
            if again is None or (sighting is not None and again.presence < sighting.presence - p.less_sure):
                return sighting
            sighting = again
            wanted = VirtualView.upright(sighting.rays_cam, p.cut_px)
            if view.near(wanted):
                break
            view = wanted
        return sighting

    def _answer(self, camera: str, view: VirtualView, moment: Moment, mirrored: bool) -> Sighting | None:
        picture = view.cut(moment.pictures[camera], self.mounts[camera].camera)
        if mirrored:
            found = self.detector.refine(np.ascontiguousarray(picture[:, ::-1])).mirrored(view.size_px)
        else:
            found = self.detector.refine(picture)
        return None if found.presence < self.params.least_presence else self._sighting(found, view, camera)

    def _placed(self, found: Mapping[str, Sighting], moment: Moment) -> Array:
        """(21, 3) joints in the world."""
        views = views_of([found], self.mounts)
        guess = bones.guessed(views.relative_m[views.seen])
        at = fitted(views, guess, self.params.size_sigma, FitParams(steps=4))
        return transform(moment.T_world_imu, at.joints[0])

    def _sighting(self, found: Landmarks, view: VirtualView, camera: str) -> Sighting | None:
        rays = view.rays_cam(found.pixel)
        pixel, valid = self.mounts[camera].camera.project(rays)
        inside = valid & self.mounts[camera].camera.in_picture(pixel)
        if inside.mean() < self.params.least_inside:
            return None
        return Sighting(rays, found.relative_m @ view.R_cam_view.T, found.right, found.presence)


def _mean(one: Sighting, other: Sighting) -> Sighting:
    """The first, its joints in the middle of both."""
    rays = one.rays_cam + other.rays_cam
    shape_m = (one.relative_cam_m + other.relative_cam_m) / 2
    return replace(one, rays_cam=rays / np.linalg.norm(rays, axis=1, keepdims=True), relative_cam_m=shape_m)


def _apart(one: Array, other: Array) -> float:
    """How unlike two shapes (21, 3) are, each about its middle and of size one; 2 at most."""
    off = [shape - shape.mean(axis=0) for shape in (one, other)]
    return float(np.linalg.norm(np.subtract(*(each / max(float(np.linalg.norm(each)), 1e-9) for each in off))))


def holds_hands(follower: Follower, camera: str, pictures: Iterable[Picture]) -> bool:
    """Whether any of some pictures shows a hand."""
    return any(follower.look(camera, picture) for picture in pictures)
