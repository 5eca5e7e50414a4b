"""Tracks are laid where they are in the pictures, and a view that tells nothing new does not count as if it did."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from handcap import geometry
from handcap.cameras import KannalaBrandt4
from handcap.errors import ReconstructionError, SessionError
from handcap.geometry import Array
from handcap.reconstruct import apart
from handcap.reconstruct.landmarks import Landmarks, Observations, looked_once, stations
from handcap.reconstruct.patches import PatchParams, aligned
from handcap.reconstruct.result import ReconstructParams
from handcap.sim.lens import Lens
from handcap.sim.light import LightMap
from handcap.sim.render import Renderer, Shot, Shutter, still
from handcap.sim.scene import SceneBuilder
from handcap.sim.texture import Texture

LENS = KannalaBrandt4(640, 480, (265.3, 265.1, 323.4, 236.8, -0.012, 0.004, -0.0021, 0.0003))
VIEWS, POINTS = 7, 40
MIDDLE = VIEWS // 2


def poses() -> Array:
    """(v, 4, 4) a camera that sways, turns and comes nearer above a floor."""
    down = np.diag([1.0, -1.0, -1.0])
    along = np.linspace(-1, 1, VIEWS)
    R = down @ geometry.so3_exp(np.stack([0.25 + 0.1 * along, 0.05 * along, 0.25 * along], axis=1))
    return geometry.se3(R, np.stack([0.15 * along, -0.35 + 0.05 * along, 0.8 - 0.12 * along], axis=1))


@cache
def pictures() -> tuple[np.ndarray, ...]:
    """What it sees: a printed floor."""
    rng = np.random.default_rng(3)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (1024, 1024)).astype(np.float32), (0, 0), 2.0)
    print_ = np.clip(127 + 6 * (noise - noise.mean()), 0, 255).astype(np.uint8)
    b = SceneBuilder(rng)
    floor = b.texture(Texture(np.repeat(print_[..., None], 3, axis=2), 0.004))
    b.quad([-3, -3, 0], [6, 0, 0], [0, 6, 0], floor, uv=(0, 0))
    scene = b.build([])
    n = len(scene.origin)
    renderer = Renderer(scene, LightMap(np.ones(4 * n, np.float32), np.arange(n) * 4, np.full((n, 2), 2, np.int32)))
    lens = Lens(LENS)
    shots = [renderer.render(lens, Shot(Shutter(0.0), still(T))) for T in poses()]
    return tuple(np.rint(shot[..., 0]).astype(np.uint8) for shot in shots)


def streamed() -> Iterator[tuple[int, int, np.ndarray]]:
    return ((0, k, picture) for k, picture in enumerate(pictures()))


def followed(slip_px: float) -> tuple[Observations, Landmarks, Array]:
    """Points of the floor in all views, seen up to `slip_px` beside where they are in all but the middle one; where
    they are.
    """
    rng = np.random.default_rng(5)
    points = np.column_stack([rng.uniform(-0.35, 0.35, (POINTS, 2)) + [0.0, -0.2], np.zeros(POINTS)])
    true_px = np.stack([LENS.project(geometry.transform(geometry.inverse(T), points))[0] for T in poses()], axis=1)
    slips = rng.uniform(-slip_px, slip_px, true_px.shape)
    slips[:, MIDDLE] = 0.0
    px = (true_px + slips).reshape(-1, 2)
    track, keyframe = np.repeat(np.arange(POINTS), VIEWS), np.tile(np.arange(VIEWS), POINTS)
    ray, valid = LENS.unproject(px)
    assert valid.all()
    marks = Landmarks(np.arange(POINTS), points, np.full(POINTS, 0.3))
    return Observations(keyframe, track, px, ray, px, np.zeros(len(track), np.int64)), marks, true_px.reshape(-1, 2)


def test_slips_of_a_pixel_are_undone_to_a_twentieth() -> None:
    seen, marks, true_px = followed(1.0)
    found = aligned(seen, marks, poses(), LENS, streamed)
    assert len(found) > 0.95 * len(seen)
    off_px = np.linalg.norm(found.pixel - true_px[found.track * VIEWS + found.keyframe], axis=1)
    assert np.median(off_px) < 0.05 and np.quantile(off_px, 0.95) < 0.15
    ray, _ = LENS.unproject(found.pixel)
    np.testing.assert_allclose(found.ray, ray, atol=1e-12)
    np.testing.assert_array_equal(found.recorded_px, found.pixel)


def test_another_exposure_changes_nothing() -> None:
    seen, marks, true_px = followed(1.0)

    def darker() -> Iterator[tuple[int, int, np.ndarray]]:
        return ((c, k, (0.6 * p + 10).astype(np.uint8) if k % 2 else p) for c, k, p in streamed())

    found = aligned(seen, marks, poses(), LENS, darker)
    off_px = np.linalg.norm(found.pixel - true_px[found.track * VIEWS + found.keyframe], axis=1)
    assert len(found) > 0.95 * len(seen) and np.median(off_px) < 0.05


def test_views_behind_something_else_are_dropped() -> None:
    seen, marks, _ = followed(0.5)
    hidden = (seen.keyframe == 1) & (seen.recorded_px[:, 0] < 320)
    assert 5 < hidden.sum() < POINTS

    def covered() -> Iterator[tuple[int, int, np.ndarray]]:
        rng = np.random.default_rng(9)
        for c, k, picture in streamed():
            if k == 1:
                picture = picture.copy()
                picture[:, :330] = cv2.GaussianBlur(rng.uniform(0, 255, (480, 330)), (0, 0), 2.0) * 4 - 380
            yield c, k, picture

    found = aligned(seen, marks, poses(), LENS, covered, PatchParams(least_views=1))
    left = set(zip(found.track.tolist(), found.keyframe.tolist(), strict=True))
    lost = [(t, k) not in left for t, k in zip(seen.track[hidden], seen.keyframe[hidden], strict=True)]
    assert np.mean(lost) > 0.9
    assert len(found) > 0.95 * (len(seen) - hidden.sum())


def test_a_picture_in_which_nothing_fits_keeps_its_views_as_they_were_followed() -> None:
    seen, marks, _ = followed(0.5)

    def blank() -> Iterator[tuple[int, int, np.ndarray]]:
        return ((c, k, np.full_like(p, 120) if k == 1 else p) for c, k, p in streamed())

    found = aligned(seen, marks, poses(), LENS, blank)
    as_they_were = seen.where(seen.keyframe == 1)
    np.testing.assert_array_equal(found.where(found.keyframe == 1).pixel, as_they_were.pixel)


def test_a_camera_at_rest_counts_once_and_every_keyframe_keeps_enough() -> None:
    tracks, at_rest, moving = 60, 10, 5
    keyframes = at_rest + moving
    track, keyframe = np.repeat(np.arange(tracks), keyframes), np.tile(np.arange(keyframes), tracks)
    start = np.random.default_rng(0).uniform(100, 300, (tracks, 2))
    moved = np.maximum(np.arange(keyframes) - at_rest + 1, 0) * 8.0
    px = (start[:, None] + moved[:, None] * [1.0, 0.0]).reshape(-1, 2)
    seen = Observations(keyframe, track, px, LENS.unproject(px)[0], px, np.zeros(len(track), np.int64))
    station = stations(seen, keyframes, 1.0)
    np.testing.assert_array_equal(station, [*[0] * at_rest, *range(1, moving + 1)])
    once = looked_once(seen, station, least_views=1)
    per_track = np.bincount(once.track[once.keyframe < at_rest], minlength=tracks)
    np.testing.assert_array_equal(per_track, 1)
    assert (np.bincount(once.keyframe)[at_rest:] == tracks).all()
    assert (np.bincount(looked_once(seen, station, least_views=20).keyframe)[:at_rest] >= 15).all()
    order = np.lexsort((once.keyframe, once.track))
    np.testing.assert_array_equal(order, np.arange(len(once)))


def test_what_stops_a_device_in_a_process_of_its_own_is_told_as_if_it_were_here(tmp_path: Path) -> None:
    job = apart.Job(tmp_path / "nothing", None, "0001", "head", ReconstructParams())
    with pytest.raises(SessionError, match="nothing") as told:
        apart.solve_apart([job, replace(job, what="left")], lambda what, share: None)
    assert told.value.mend


def test_a_process_that_dies_is_told_with_the_device_it_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -KILL $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dying))
    job = apart.Job(tmp_path, None, "0001", "left", ReconstructParams())
    with pytest.raises(ReconstructionError, match="'left' ended unexpectedly") as told:
        apart.solve_apart([job], lambda what, share: None)
    assert told.value.mend


def test_an_interrupted_solution_ends_its_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = tmp_path / "python"
    waiting.write_text("#!/bin/sh\nexec sleep 60\n")
    waiting.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(waiting))
    job = apart.Job(tmp_path, None, "0001", "left", ReconstructParams())
    began = time.monotonic()
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        apart.solve_apart([job, replace(job, what="right")], lambda what, share: None)
    assert time.monotonic() - began < 20
