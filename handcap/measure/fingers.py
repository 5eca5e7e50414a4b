"""Tags on a gripper's fingers, as its camera sees them, and how far open the jaws are by each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, transform
from handcap.measure.tags import find_tags
from handcap.types import Frame, Stamps, Tag, TagFamily

# A finger's frame is the tool frame, shifted along x by so many openings.
SHARE = {"finger_a": -0.5, "finger_b": 0.5}
_ROUNDS = 3
_FIRST_M = 0.02
_STEP_M = 1e-5
_LEAST_M, _MOST_M = -0.02, 0.13  # what jaws of any drawing may be open, roughly calibrated
_BESIDE, _SIZE = 2.0, 1.6  # how far beside its track a tag may be in its own radii, and how much larger or smaller


@dataclass(frozen=True, eq=False, slots=True)
class FingerSights:
    """Looks at finger tags, in the order of the pictures.

    Attributes:
        picture: (m,) which picture.
        tag: (m,) which of the gripper's finger tags, see `finger_tags`.
        px: (m, 4, 2) corners, clockwise from the tag's own upper left.
    """

    picture: NDArray[np.int64]
    tag: NDArray[np.int64]
    px: Array

    def __len__(self) -> int:
        return len(self.picture)

    @staticmethod
    def none() -> FingerSights:
        return FingerSights(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4, 2)))


def finger_tags(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Those of a gripper's tags that sit on a finger."""
    return tuple(tag for tag in tags if tag.body in SHARE)


def find_finger_tags(
    frames: Iterable[Frame], camera_t_ns: Stamps, camera: Camera, tags: Sequence[Tag], T_cam_tcp: Array | None
) -> FingerSights:
    """Look for finger tags in pictures. A board's markers may bear the same numbers: what is not where a finger can
    be, or not of its size, is none.

    Args:
        frames: grey, of the gripper's camera.
        camera_t_ns: (f,) stamps of the pictures that count; others are left out.
        camera: its lens.
        tags: on the fingers.
        T_cam_tcp: (4, 4), roughly; None where nobody knows where fingers can be.
    """
    families: list[TagFamily] = sorted({tag.family for tag in tags})
    known = {(tag.family, tag.id): k for k, tag in enumerate(tags)}
    picture: list[int] = []
    which: list[int] = []
    px: list[Array] = []
    for frame in frames:
        i = int(np.searchsorted(camera_t_ns, frame.t_ns))
        if i == len(camera_t_ns) or camera_t_ns[i] != frame.t_ns:
            continue
        for found in find_tags(frame.image, families, camera, repeated=T_cam_tcp is not None):
            k = known.get((found.family, found.id))
            if k is not None:
                picture.append(i)
                which.append(k)
                px.append(found.corners_px)
    seen = FingerSights(np.array(picture, np.int64), np.array(which, np.int64), np.array(px).reshape(-1, 4, 2))
    return seen if T_cam_tcp is None else _on_fingers(seen, camera, T_cam_tcp, tags)


def _on_fingers(seen: FingerSights, camera: Camera, T_cam_tcp: Array, tags: Sequence[Tag]) -> FingerSights:
    """Those that look as a tag on a finger does; of two that do, neither."""
    if not len(seen):
        return seen
    width = openings_m(seen, camera, T_cam_tcp, tags)
    width = np.where(np.isfinite(width), np.clip(width, _LEAST_M, _MOST_M), _LEAST_M)
    expected = _expected_px(seen, width, camera, T_cam_tcp, tags)
    size, expected_size = _radius(seen.px), _radius(expected)
    beside = np.linalg.norm((seen.px - expected).mean(axis=1), axis=1)
    likely = (beside < _BESIDE * expected_size) & (np.abs(np.log(size / expected_size)) < np.log(_SIZE))
    place = seen.picture * len(tags) + seen.tag
    likely &= np.bincount(place[likely], minlength=int(place.max()) + 1)[place] == 1
    return FingerSights(seen.picture[likely], seen.tag[likely], seen.px[likely])


def _radius(px: Array) -> Array:
    """(m,) mean distance of corners (m, 4, 2) from their middle."""
    return np.linalg.norm(px - px.mean(axis=1, keepdims=True), axis=2).mean(axis=1)


def _expected_px(seen: FingerSights, width: Array, camera: Camera, T_cam_tcp: Array, tags: Sequence[Tag]) -> Array:
    """(m, 4, 2) where the corners would be at openings (m,)."""
    corners_tcp = np.array([tag.corners_body for tag in tags])[seen.tag]
    along = np.array([SHARE[tag.body] for tag in tags])[seen.tag][:, None, None] * np.array([1.0, 0.0, 0.0])
    return camera.project(transform(T_cam_tcp, corners_tcp + along * width[:, None, None]))[0]


def openings_m(seen: FingerSights, camera: Camera, T_cam_tcp: Array, tags: Sequence[Tag]) -> Array:
    """(m,) jaw opening as each look at one finger alone tells it, were the jaws centred.

    Args:
        camera: lens of the gripper's camera.
        T_cam_tcp: (4, 4).
        tags: on the fingers, as `seen` counts them.
    """
    if not len(seen):
        return np.zeros(0)
    width = np.full(len(seen), _FIRST_M)
    for _ in range(_ROUNDS):
        at = _expected_px(seen, width, camera, T_cam_tcp, tags)
        slope = (_expected_px(seen, width + _STEP_M, camera, T_cam_tcp, tags) - at) / _STEP_M
        # A square seen too large or too small all round stays where it is: only the mean of its corners counts.
        residual, slope = (seen.px - at).mean(axis=1), slope.mean(axis=1)
        width = width + (residual * slope).sum(axis=1) / np.maximum((slope**2).sum(axis=1), 1e-9)
    return width
