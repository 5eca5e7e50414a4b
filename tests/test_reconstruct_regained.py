"""A view that was cut off, or points that were hidden, and come back: they are the ones that were there before."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from head_motion import observed, points_ahead, sights
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap.cameras import PinholeRadtan
from handcap.geometry import se3_exp
from handcap.reconstruct.adopt import adopted
from handcap.reconstruct.frontend import FrontendParams, track
from handcap.reconstruct.landmarks import Observations, gate, ordered, with_views
from handcap.types import Frame

LENS = PinholeRadtan(640, 480, (400.0, 400.0, 319.5, 239.5, 0.0, 0.0, 0.0, 0.0))
MOVING, RESTING = 30, 20


def _room(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (560, 720)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise[::8, ::8], (720, 560), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)


def _shared(after: np.ndarray, dark_s: float) -> float:
    """Share of the features alive before the dark that are alive after it, the view having slid by a few pixels."""
    before, black = _room(0), np.zeros((480, 640), np.uint8)
    pictures = [before[20:500, 20 + k : 660 + k] for k in range(10)]
    pictures += [black] * round(20 * dark_s)
    pictures += [after[24:504, 30 + k : 670 + k] for k in range(5)]
    frames = [Frame(50_000_000 * k, "head", np.ascontiguousarray(p)) for k, p in enumerate(pictures)]
    found = track(frames, LENS, lambda a, b: np.eye(3), FrontendParams(points=150))
    ids = [set(found.track[found.frame == k].tolist()) for k in (9, len(frames) - 1)]
    assert len(ids[0]) > 100
    return len(ids[0] & ids[1]) / len(ids[0])


def test_features_go_on_under_their_ids_after_the_lens_was_covered():
    assert _shared(_room(0), dark_s=1.0) > 0.7


@pytest.mark.parametrize(("seed", "dark_s"), [(1, 1.0), (0, 4.0)])
def test_another_view_or_one_from_long_ago_is_not_taken_for_the_one_before(seed, dark_s):
    assert _shared(_room(seed), dark_s) == 0


def _rest_after_motion(seed: int, noise_px: float, hidden: float) -> tuple[np.ndarray, Observations, np.ndarray]:
    """Poses, and what is seen: at rest all points under new ids, of which `hidden` of all are other corners.

    New ids are 1000 more than those of the point shown; (m,) those that show none.
    """
    rng = np.random.default_rng(seed)
    s = np.arange(MOVING)[:, None]
    moving = se3_exp(np.c_[0.03 * np.sin(0.5 * s + [0, 1, 2]), 0.04 * s, 0.02 * np.sin(0.4 * s), 0.01 * s])
    T = np.concatenate([moving, np.repeat(moving[-1:], RESTING, axis=0)])
    p_world = points_ahead(moving[MOVING // 2 :], 300, seed)
    seen = with_views(sights(T, LENS, p_world), 3)
    late = seen.keyframe >= MOVING
    others = rng.permutation(np.unique(seen.track[late]))[: int(hidden * len(np.unique(seen.track[late])))]
    away = np.zeros((300, 2))
    away[others] = rng.uniform(10, 40, (len(others), 2))
    pixel = seen.pixel + np.where(late[:, None], away[seen.track], 0) + rng.normal(0, noise_px, seen.pixel.shape)
    again = observed(seen.keyframe, seen.track + 1000 * late, pixel, LENS)
    return T, ordered([again]), others + 1000


@given(st.integers(0, 1000), st.floats(0.0, 0.5))
@settings(max_examples=15, deadline=None)
def test_tracks_of_a_camera_at_rest_are_the_points_it_knew(seed, hidden):
    T, seen, others = _rest_after_motion(seed, 0.2, hidden)
    known, marks, _, _ = gate(seen.where(seen.track < 1000), T, LENS)
    found = adopted(seen, known, marks, T, LENS)
    assert found is not None
    truly = {int(t) for t in np.unique(seen.track[seen.track >= 1000]) if t not in others and t - 1000 in marks.track}
    at_rest = found.where(found.keyframe >= MOVING)
    assert len(set(at_rest.track.tolist()) & {t - 1000 for t in truly}) > 0.9 * len(truly)
    pixel = {(int(k), int(t)): px for k, t, px in zip(seen.keyframe, seen.track, seen.pixel, strict=True)}
    own = [
        (int(k), int(t) + 1000) in pixel and bool(np.allclose(pixel[int(k), int(t) + 1000], px))
        for k, t, px in zip(at_rest.keyframe, at_rest.track, at_rest.pixel, strict=True)
    ]
    assert np.mean(own) > 0.95


def test_a_camera_that_sees_enough_adopts_nothing():
    T, seen, _ = _rest_after_motion(0, 0.2, 0.0)
    moving = seen.where(seen.keyframe < MOVING)
    known, marks, _, _ = gate(moving, T[:MOVING], LENS)
    assert adopted(moving, known, marks, T[:MOVING], LENS) is None
