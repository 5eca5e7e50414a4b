"""What a look at two consecutive pictures of a camera tells, a few times a second while a take runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.geometry import Array, inverse, transform
from handcap.types import MountedCamera, Rig, Tag, TagFamily

Grey = NDArray[np.uint8]
Encoding = Literal["jpeg", "h264"]

_WIDTH = 480  # pictures are followed about this wide, at most
_TAG_WIDTH = 960  # and searched for tags about this wide
_CLOSELY_EVERY = 2  # looks: at tags, edges, and whether the camera still sits where it was
_EDGE_REACH_PX = 4.0
_TOGETHER_NS = 3_000_000  # two pictures of one trigger
_DEPTH_M = 1.2  # of what two cameras on a head see, roughly: matching begins there
_ASTRAY_PX = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """One look.

    Attributes:
        t_s: since the take's start.
        brightness: mean grey level.
        corners: points to hold on to.
        followed: share of these that were found again in the next picture; NaN where there are none, or nobody looked.
        flicker: root mean square of what bands of rows are brighter or darker in the next picture, natural logarithm;
            NaN where nothing tells.
        edge_px: how wide edges are, standard deviation, in pixels of the small picture; NaN where nothing tells.
        tags: of the rig that were found; None where nobody looked, or there are none to be seen.
        same_since_s: since when the picture has been the very same; None where it has changed.
        quick: a busy machine had time for brightness and corners only.
    """

    t_s: float
    brightness: float
    corners: int
    followed: float = float("nan")
    flicker: float = float("nan")
    edge_px: float = float("nan")
    tags: int | None = None
    same_since_s: float | None = None
    quick: bool = False


def decoded(data: list[bytes], encoding: Encoding, width_px: int) -> list[Grey]:
    """Consecutive pictures, grey, halved to about that width; of H.264 the first is a key frame. Empty where one does
    not decode, or they differ in size."""
    from handcap.session.pictures import Packet, decode_video

    if encoding == "jpeg":
        found = [_jpeg(each, width_px) for each in data]
    else:
        packets = [Packet(k, "h264", each) for k, each in enumerate(data)]
        found = [None if p is None else reduced(p, width_px) for _, p in decode_video(packets, grey=True)]
    pictures = [picture for picture in found if picture is not None]
    whole = len(pictures) == len(data) and all(picture.shape == pictures[0].shape for picture in pictures)
    return pictures if whole else []


def _jpeg(data: bytes, width_px: int) -> Grey | None:
    """The decoder halves for less than it costs to decode."""
    import cv2

    from handcap.session.pictures import PICTURE_LIMIT_PX, is_complete, picture_size

    size = picture_size(data)
    if size is None or not 0 < size[0] * size[1] <= PICTURE_LIMIT_PX or not is_complete(data):
        return None
    halves = {1: cv2.IMREAD_REDUCED_GRAYSCALE_2, 2: cv2.IMREAD_REDUCED_GRAYSCALE_4, 3: cv2.IMREAD_REDUCED_GRAYSCALE_8}
    flag = halves.get(min(_halvings(size[0], width_px), 3), cv2.IMREAD_GRAYSCALE)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def prepare() -> None:
    """Load what looking needs: a second or two of an idle machine."""
    for name in ("blur", "follow", "mount", "tags"):
        import_module(f"handcap.measure.{name}")


class Eyes:
    """All cameras of a rig during one take, looked through one after the other by one thread.

    Args:
        rig: in force; None where it is not known, and nothing is told of tags and mounts.
        start_ns: of the take.

    Attributes:
        turns: (since the take's start in s, (3,) rad) of each look that tells how far a camera is turned against its
            calibration; of two cameras on a head, of one against the other, under "head".
    """

    def __init__(self, rig: Rig | None, start_ns: int) -> None:
        self._start_ns = start_ns
        cameras: Mapping[str, MountedCamera] = {} if rig is None else rig.cameras
        self._eyes = {name: _Eye(tuple(_tags_for(name, rig)), camera.camera.width) for name, camera in cameras.items()}
        self._rig = rig
        self.turns: dict[str, list[tuple[float, Array]]] = {}
        heads = sorted(name for name, camera in cameras.items() if camera.device == "head")
        self._pair = (heads[0], heads[1]) if len(heads) == 2 else None

    def look(
        self, camera: str, t_ns: int, data: list[bytes], encoding: Encoding, *, quick: bool = False
    ) -> Look | None:
        """Two consecutive pictures, the first of them stamped; None where they do not decode.

        Args:
            quick: only whether the first shows anything at all, for a machine that is busy.
        """
        from handcap.measure.follow import corners

        pictures = decoded(data[:1] if quick else data, encoding, _WIDTH)
        if not pictures:
            return None
        eye = self._eyes.setdefault(camera, _Eye((), 0))
        t_s = (t_ns - self._start_ns) / NS_PER_S
        look = Look(t_s, float(pictures[0].mean()), 0, same_since_s=eye.same_since(t_s, pictures[0]))
        if quick:
            return replace(look, corners=len(corners(pictures[0])), quick=True)
        eye.seen, eye.looks = (t_ns, pictures[0]), eye.looks + 1
        closely = eye.looks % _CLOSELY_EVERY == 0
        if closely:
            tags = eye.tags_in(data[0], encoding)
            self._note_turn(camera, t_ns, tags)
            look = replace(look, tags=len(tags) if eye.may_see_tags else None)
        return _followed(look, *pictures, closely=closely)

    def _note_turn(self, camera: str, t_ns: int, tags: list[tuple[Tag, Array]]) -> None:
        if self._pair is not None and camera in self._pair:
            name, turn = "head", self._turn_of_pair(*self._pair)
        else:
            name, turn = camera, self._turn_by_fingers(camera, tags)
        if turn is not None:
            self.turns.setdefault(name, []).append(((t_ns - self._start_ns) / NS_PER_S, turn))

    def _turn_by_fingers(self, camera: str, tags: list[tuple[Tag, Array]]) -> Array | None:
        gripper = None if self._rig is None else self._rig.grippers.get(camera)
        if self._rig is None or gripper is None or gripper.T_cam_tcp is None or not tags:
            return None
        from handcap.measure.mount import turn_by_fingers

        px = np.array([corners for _, corners in tags])
        return turn_by_fingers(px, [tag for tag, _ in tags], self._rig.cameras[camera].camera, gripper.T_cam_tcp)

    def _turn_of_pair(self, left: str, right: str) -> Array | None:
        """By pictures of one moment; they are compared once, when the second of them is looked at."""
        seen = [self._eyes[name].seen for name in (left, right)]
        if self._rig is None or seen[0] is None or seen[1] is None or abs(seen[0][0] - seen[1][0]) > _TOGETHER_NS:
            return None
        from handcap.measure.mount import left_right, turn_by_pair

        cameras = [self._rig.cameras[name] for name in (left, right)]
        T_left_right = left_right(cameras[0].T_imu_cam, cameras[1].T_imu_cam)
        rays = _matched((seen[0][1], seen[1][1]), (cameras[0], cameras[1]), T_left_right)
        self._eyes[left].seen = None
        return turn_by_pair(*rays, T_left_right)


def _followed(look: Look, first: Grey, second: Grey, *, closely: bool) -> Look:
    """A look with what two pictures, one after the other, tell."""
    from handcap.measure.blur import edge_width_px
    from handcap.measure.follow import follow

    seen = follow(first, second)
    told = seen.brighter[np.isfinite(seen.brighter)]
    return replace(
        look,
        corners=seen.corners,
        followed=seen.share,
        flicker=float(np.sqrt(np.mean(told**2))) if len(told) else float("nan"),
        edge_px=edge_width_px(first, seen.points_px, _EDGE_REACH_PX) if closely else float("nan"),
    )


class _Eye:
    """One camera's memory from look to look."""

    def __init__(self, tags: tuple[Tag, ...], width_px: int) -> None:
        self._width_px = width_px
        self.seen: tuple[int, Grey] | None = None
        self._tags = {(tag.family, tag.id): tag for tag in tags}
        self._families: list[TagFamily] = sorted({tag.family for tag in tags})
        self.looks = 0
        self._last: Grey | None = None
        self._same_since_s = 0.0

    def same_since(self, t_s: float, picture: Grey) -> float | None:
        """Since when every look has found this very picture."""
        if self._last is not None and np.array_equal(self._last, picture):
            return self._same_since_s
        self._last, self._same_since_s = picture, t_s
        return None

    @property
    def may_see_tags(self) -> bool:
        return bool(self._tags)

    def tags_in(self, data: bytes, encoding: Encoding) -> list[tuple[Tag, Array]]:
        """The rig's tags and their corners (4, 2), px of the whole picture."""
        pictures = decoded([data], encoding, _TAG_WIDTH) if self._tags else []
        if not pictures:
            return []
        from handcap.measure.tags import find_tags

        scale = round(self._width_px / pictures[0].shape[1])
        found = find_tags(pictures[0], self._families)
        known = [(self._tags.get((each.family, each.id)), each.corners_px) for each in found]
        return [(tag, (px + 0.5) * scale - 0.5) for tag, px in known if tag is not None]


def _tags_for(camera: str, rig: Rig | None) -> list[Tag]:
    """What a camera can be expected to see: a gripper's its own fingers, a head's the cubes of all grippers."""
    if rig is None:
        return []
    own = rig.grippers.get(camera)
    if own is not None:
        return [tag for tag in own.tags if tag.body != "tcp"]
    return [tag for gripper in rig.grippers.values() for tag in gripper.tags if tag.body == "tcp"]


def reduced(picture: Grey, width_px: int) -> Grey:
    """Halved until it is hardly wider than that."""
    import cv2

    for _ in range(_halvings(picture.shape[1], width_px)):
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)
    return picture


def _halvings(width_px: int, wanted_px: int) -> int:
    count = 0
    while width_px > 1.25 * wanted_px:
        width_px, count = width_px // 2, count + 1
    return count


def _matched(
    pictures: tuple[Grey, Grey], cameras: tuple[MountedCamera, MountedCamera], T_left_right: Array
) -> tuple[Array, Array]:
    """Rays (n, 3) of two cameras to the same points."""
    from handcap.measure.follow import corners, there_and_back

    left, right = (
        camera.camera.scaled(picture.shape[1] / camera.camera.width)
        for picture, camera in zip(pictures, cameras, strict=True)
    )
    points = corners(pictures[0])
    if not len(points):
        return np.zeros((0, 3)), np.zeros((0, 3))
    rays, valid = left.unproject(points[:, 0].astype(float))
    guess = right.project(transform(inverse(T_left_right), rays * _DEPTH_M))[0]
    guess = np.where(np.isfinite(guess), guess, points[:, 0])
    near = np.array(guess, np.float32, order="C").reshape(-1, 1, 2)
    there, found, astray_px = there_and_back(pictures[0], pictures[1], points, 2, near)
    good = found & (astray_px < _ASTRAY_PX) & valid
    rays_right, seen = right.unproject(there[:, 0].astype(float))
    return rays[good & seen], rays_right[good & seen]
