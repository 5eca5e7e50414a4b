"""Tracks, points, keyframes and verdict rules: each step alone, on made-up input with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from head_motion import HeadMotion, observed, points_ahead, sights, times
from hypothesis import given, settings
from hypothesis import strategies as st

from handcap.cameras import KannalaBrandt4, PinholeRadtan
from handcap.geometry import inverse, se3_exp, se3_log
from handcap.reconstruct import inputs, verdict
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.keyframes import KeyframeParams, choose_keyframes, neighbour_parallax, starting_windows
from handcap.reconstruct.landmarks import Landmarks, Observations, gate, triangulate, with_views
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.merge import merge
from handcap.reconstruct.noise import pixel_noise
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import ImuSamples

PINHOLE = PinholeRadtan(752, 480, (458.0, 457.0, 367.0, 248.0, -0.28, 0.07, 2e-4, 2e-5))
FISHEYE = KannalaBrandt4(640, 640, (210.0, 211.0, 319.0, 321.0, 0.03, -0.01, 0.002, -0.0005))
LENSES = pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=["pinhole", "fisheye"])


def strafe(n: int = 30, step_m: float = 0.04) -> np.ndarray:
    """(n, 4, 4) camera poses: sideways, swaying, looking ahead."""
    s = np.arange(n)[:, None]
    return se3_exp(np.c_[0.03 * np.sin(0.5 * s + [0, 1, 2]), step_m * s, 0.02 * np.sin(0.4 * s), 0.01 * s])


def scene(camera, count: int = 300, n: int = 30, seed: int = 0):
    T_world_cam = strafe(n)
    p_world = points_ahead(T_world_cam[n // 2 :], count, seed)
    return T_world_cam, p_world, with_views(sights(T_world_cam, camera, p_world), 3)


def with_noise(seen: Observations, noise, camera) -> Observations:
    return observed(seen.keyframe, seen.track, seen.pixel + noise, camera)


@LENSES
def test_points_are_found_where_they_are(camera):
    T_world_cam, p_world, seen = scene(camera)
    marks, residual = triangulate(seen, T_world_cam, camera)
    assert len(marks.track) > 200
    np.testing.assert_allclose(marks.p_world, p_world[marks.track], atol=1e-5)
    assert np.abs(residual).max() < 1e-3


@LENSES
def test_half_a_pixel_of_noise_moves_points_little(camera):
    T_world_cam, p_world, seen = scene(camera)
    noisy = with_noise(seen, np.random.default_rng(1).normal(0, 0.5, seen.pixel.shape), camera)
    marks, _ = triangulate(noisy, T_world_cam, camera)
    well_seen = marks.parallax_rad > 0.1
    off = np.linalg.norm(marks.p_world - p_world[marks.track], axis=1)[well_seen]
    assert well_seen.sum() > 100 and np.median(off) < 0.03


@LENSES
def test_the_gate_drops_planted_slips_and_little_else(camera):
    T_world_cam, _, seen = scene(camera)
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.4, seen.pixel.shape)
    slipped = rng.random(len(seen)) < 0.03
    angle = rng.uniform(0, 2 * np.pi, len(seen))
    noise[slipped] += 12 * np.c_[np.cos(angle), np.sin(angle)][slipped]
    dirty = with_noise(seen, noise, camera)
    kept, marks, residual, sigma = gate(dirty, T_world_cam, camera)
    name = {(int(k), int(t)) for k, t in zip(kept.keyframe, kept.track, strict=True)}
    stayed = np.array([(int(k), int(t)) in name for k, t in zip(dirty.keyframe, dirty.track, strict=True)])
    assert stayed[slipped].mean() < 0.02
    assert stayed[~slipped].mean() > 0.9
    assert sigma == pytest.approx(0.4, rel=0.15)
    assert len(residual) == len(kept) and np.isfinite(marks.p_world).all()


def test_the_gate_drops_points_that_were_never_seen_from_two_sides():
    T_world_cam, p_world, _ = scene(PINHOLE)
    still = sights(np.repeat(T_world_cam[:1], 10, axis=0), PINHOLE, p_world)
    kept, marks, residual, sigma = gate(still, np.repeat(T_world_cam[:1], 10, axis=0), PINHOLE)
    assert len(kept) == len(marks.track) == len(residual) == 0 and np.isnan(sigma)


def slow_noise(seen: Observations, sigma_px: float, correlation: float, seed: int) -> np.ndarray:
    """(k, 2) first-order process along each track."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, sigma_px, seen.pixel.shape)
    for k in range(1, len(seen)):
        if seen.track[k] == seen.track[k - 1]:
            out[k] = correlation * out[k - 1] + np.sqrt(1 - correlation**2) * out[k]
    return out


@LENSES
@pytest.mark.parametrize(("sigma_px", "correlation"), [(0.2, 0.0), (0.6, 0.0), (0.4, 0.5), (0.4, 0.8)])
def test_noise_of_the_tracks_is_measured_in_size_and_slowness(camera, sigma_px, correlation):
    T_world_cam, _, seen = scene(camera)
    noisy = with_noise(seen, slow_noise(seen, sigma_px, correlation, 3), camera)
    found = pixel_noise(noisy, triangulate(noisy, T_world_cam, camera)[1])
    # the fitted point eats part of slow noise
    assert found.typical_px == pytest.approx(sigma_px, rel=0.1 if correlation == 0 else 0.35)
    assert found.correlation == pytest.approx(correlation, abs=0.12 if correlation < 0.8 else 0.2)
    assert found.variance_factor >= 1 and len(found.track_px) == len(np.unique(seen.track))


def test_a_track_that_slides_more_is_trusted_less():
    T_world_cam, _, seen = scene(PINHOLE)
    noise = np.random.default_rng(4).normal(0, 0.3, seen.pixel.shape)
    sliding = seen.track % 10 == 0
    noise[sliding] *= 4
    noisy = with_noise(seen, noise, PINHOLE)
    found = pixel_noise(noisy, triangulate(noisy, T_world_cam, PINHOLE)[1])
    slides = np.unique(seen.track) % 10 == 0
    assert np.median(found.track_px[slides]) > 2 * np.median(found.track_px[~slides])


def cut(seen: Observations, track: int, at: int, new: int, camera) -> Observations:
    label = np.where((seen.track == track) & (seen.keyframe >= at), new, seen.track)
    order = np.lexsort((seen.keyframe, label))
    return observed(seen.keyframe[order], label[order], seen.pixel[order], camera)


@LENSES
def test_a_track_cut_in_two_is_joined_and_strangers_are_not(camera):
    T_world_cam, _, seen = scene(camera, count=60)
    tracks, count = np.unique(seen.track, return_counts=True)
    whole = int(tracks[np.argmax(count)])
    views = seen.keyframe[seen.track == whole]
    torn = cut(seen, whole, int(views[len(views) // 2]), 1000, camera)
    marks, _ = triangulate(torn, T_world_cam, camera)
    rng = np.random.default_rng(5)
    looks = {int(t): rng.integers(0, 256, 32, dtype=np.uint8) for t in marks.track}
    looks[1000] = looks[whole].copy()
    looks[1000][0] ^= 3
    joined, joins = merge(torn, marks, looks, T_world_cam, camera)
    assert joins == 1
    np.testing.assert_array_equal(joined.keyframe[np.isin(joined.track, [whole, 1000])], views)
    np.testing.assert_array_equal(np.bincount(np.unique(joined.track, return_counts=True)[1]), np.bincount(count))
    # the same point, but it looks different: another one
    looks[1000] = ~looks[whole]
    assert merge(torn, marks, looks, T_world_cam, camera)[1] == 0


def test_two_points_seen_in_one_picture_stay_two_however_alike():
    T_world_cam = strafe()
    ahead = points_ahead(T_world_cam[15:], 1)[0]
    seen = sights(T_world_cam, PINHOLE, np.array([ahead, ahead + [0.02, 0, 0]]))
    marks, _ = triangulate(seen, T_world_cam, PINHOLE)
    alike = np.zeros(32, np.uint8)
    assert merge(seen, marks, {0: alike, 1: alike}, T_world_cam, PINHOLE)[1] == 0


def test_a_join_that_does_not_fit_the_pictures_is_undone():
    T_world_cam = strafe()
    ahead = points_ahead(T_world_cam[15:], 1)[0]
    both = sights(T_world_cam, PINHOLE, np.array([ahead, ahead + [0.0, 0.06, 0.0]]))
    first = (both.track == 0) & (both.keyframe < 15) | (both.track == 1) & (both.keyframe >= 15)
    seen = both.where(first)  # never together in a picture, 6 cm apart: near enough to try
    marks, _ = triangulate(seen, T_world_cam, PINHOLE)
    alike = np.zeros(32, np.uint8)
    joined, joins = merge(seen, marks, {0: alike, 1: alike}, T_world_cam, PINHOLE)
    assert joins == 0 and sorted(set(joined.track.tolist())) == [0, 1]


def tracks_of(t_ns, seen: list[list[int]]) -> Tracks:
    counts = [len(s) for s in seen]
    total = sum(counts)
    return Tracks(
        np.asarray(t_ns, np.int64),
        np.repeat(np.arange(len(seen)), counts),
        np.array([t for s in seen for t in s], np.int64),
        np.zeros((total, 2)),
        np.full(len(seen), 100.0),
        np.ones(len(seen)),
    )


@given(st.lists(st.integers(1_000_000, 400_000_000), min_size=1, max_size=60), st.integers(0, 5))
def test_keyframes_begin_and_end_with_the_take_and_leave_no_hole_that_pictures_could_fill(gaps_ns, turnover):
    t_ns = np.cumsum([0, *gaps_ns])
    seen = [list(range(i * turnover, i * turnover + 20)) for i in range(len(t_ns))]
    params = KeyframeParams()
    chosen = choose_keyframes(tracks_of(t_ns, seen), params)
    assert chosen[0] == 0 and chosen[-1] == len(t_ns) - 1 and (np.diff(chosen) > 0).all()
    for a, b in zip(chosen[:-1], chosen[1:], strict=True):
        # the picture before the next keyframe was not due yet
        assert b == a + 1 or t_ns[b - 1] - t_ns[a] < params.period_s * 1e9


def test_a_view_that_changes_fast_gets_more_keyframes():
    t_ns = 50_000_000 * np.arange(41)
    calm = choose_keyframes(tracks_of(t_ns, [list(range(20))] * 41))
    busy = choose_keyframes(tracks_of(t_ns, [list(range(6 * i, 6 * i + 20)) for i in range(41)]))
    np.testing.assert_array_equal(calm, np.arange(0, 41, 4))
    assert len(busy) > 1.8 * len(calm)


def test_a_knock_gets_a_keyframe_on_either_side():
    t_ns, knocked = 50_000_000 * np.arange(41), np.isin(np.arange(41), [9, 10])
    chosen = choose_keyframes(tracks_of(t_ns, [list(range(20))] * 41), knocked=knocked)
    np.testing.assert_array_equal(chosen, [0, 4, 8, 9, 10, 14, 18, 22, 26, 30, 34, 38, 40])


def key_tracks(T_world_cam, camera) -> tuple[Tracks, np.ndarray]:
    """All points seen from each pose, as the front end lists them, and their rays."""
    seen = sights(T_world_cam, camera, points_ahead(T_world_cam, 150))
    order = np.lexsort((seen.track, seen.keyframe))
    counts = np.bincount(seen.keyframe, minlength=len(T_world_cam))
    lists = np.split(seen.track[order], np.cumsum(counts)[:-1])
    t_ns = 200_000_000 * np.arange(len(T_world_cam))
    return tracks_of(t_ns, [s.tolist() for s in lists]), seen.ray[order]


@LENSES
def test_parallax_is_what_rotation_does_not_explain(camera):
    turning = se3_exp(np.c_[0.1 * np.sin(np.arange(12)[:, None] + [0, 1, 2]), np.zeros((12, 3))])
    tracks, ray = key_tracks(turning, camera)
    assert neighbour_parallax(tracks, ray, turning[:, :3, :3], lag=4).max() < 1e-6
    moving = strafe(12)
    tracks, ray = key_tracks(moving, camera)
    assert neighbour_parallax(tracks, ray, moving[:, :3, :3], lag=4).min() > 0.02


def test_the_first_stretch_to_try_is_where_the_camera_moved():
    still, moving = np.repeat(strafe(1), 40, axis=0), strafe(20, 0.02)
    T_world_cam = np.concatenate([still, moving])
    tracks, ray = key_tracks(T_world_cam, PINHOLE)
    windows = starting_windows(tracks, ray, T_world_cam[:, :3, :3], length=20)
    assert windows[0][0] >= 36 and all(len(w) == 20 for w in windows)
    (all_of_it,) = starting_windows(tracks, ray, T_world_cam[:, :3, :3], length=60)
    np.testing.assert_array_equal(all_of_it, np.arange(60))


@given(st.lists(st.booleans(), max_size=40))
def test_runs_name_every_true_and_nothing_else(mask):
    found = inputs.runs(np.array(mask, bool))
    again = np.zeros(len(mask), bool)
    for a, b in found:
        assert a <= b and not again[a : b + 1].any()
        again[a : b + 1] = True
    assert again.tolist() == mask
    assert all(b + 1 < a for (_, b), (a, _) in zip(found[:-1], found[1:], strict=True))


def test_pictures_are_tracked_within_a_quarter_of_a_second_of_a_keyframe_that_sees():
    params = VerdictParams()
    t_ns = 50_000_000 * np.arange(101)
    keyframe_t_ns = 200_000_000 * np.arange(26)
    sees_all = verdict.tracked_pictures(t_ns, keyframe_t_ns, np.full(26, 100), params)
    assert sees_all.all()
    marks = np.full(26, 100)
    marks[10:14] = 0  # last seen at 1.8 s, again at 2.8 s: a quarter of a second from either is carried
    found = verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, params)
    t_s = t_ns / 1e9
    np.testing.assert_array_equal(found, (t_s <= 2.05) | (t_s >= 2.55))
    marks[11:14] = 100
    assert verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, params).all()
    marks[-2:] = 0  # last sight at 4.6 s, a quarter of a second is carried
    np.testing.assert_array_equal(verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, params), t_s <= 4.85)
    marks[:] = 0
    marks[3] = 100
    assert not verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, params).any()


def test_a_picture_alone_far_from_all_that_see_is_lost():
    marks = np.array([100, 100, 0, 0, 100, 100])
    keyframe_t_ns = np.array([0, 1, 2, 8, 9, 10]) * 200_000_000
    t_ns = np.array([0, 200, 1000, 1800, 2000]) * 1_000_000
    found = verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, VerdictParams())
    np.testing.assert_array_equal(found, [True, True, False, True, True])
    t_ns[2] = 500_000_000  # 0.3 s after the last sight
    assert verdict.tracked_pictures(t_ns, keyframe_t_ns, marks, VerdictParams()).all()


def test_pictures_outside_the_keyframes_span_are_never_tracked():
    keyframe_t_ns = 1_000_000_000 + 200_000_000 * np.arange(6)
    t_ns = 50_000_000 * np.arange(60)
    found = verdict.tracked_pictures(t_ns, keyframe_t_ns, np.full(6, 100), VerdictParams())
    np.testing.assert_array_equal(found, (t_ns >= keyframe_t_ns[0]) & (t_ns <= keyframe_t_ns[-1]))


def test_picture_gaps_are_those_longer_than_the_limit():
    t_ns = np.array([0, 100, 600, 1101, 1200]) * 1_000_000
    assert verdict.picture_gaps(t_ns, 0.5).tolist() == [2]
    assert verdict.picture_gaps(t_ns[:1], 0.5).tolist() == []


def test_imu_gaps_reach_the_pictures_within_and_beyond_the_samples():
    imu_t_ns = np.r_[np.arange(100, 400, 5), np.arange(700, 1000, 5)] * 1_000_000
    imu = ImuSamples(imu_t_ns, np.zeros((120, 3)), np.zeros((120, 3)))
    t_ns = np.array([50, 100, 395, 400, 550, 699, 700, 995, 996]) * 1_000_000
    assert verdict.imu_gaps(t_ns, imu, 0.5).tolist() == [True, False, False, True, True, True, False, False, True]


def test_good_spans_are_cut_at_gaps_and_short_ones_dropped():
    t_s = np.array([0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5])
    everything = np.ones(10, bool)
    assert verdict._spans(everything, np.array([3]), t_s, 1.0) == [(0.0, 1.5), (3.0, 5.5)]
    assert verdict._spans(everything, np.array([0, 8]), t_s, 1.0) == [(0.5, 5.0)]
    lost = everything.copy()
    lost[5] = False
    assert verdict._spans(lost, np.array([3]), t_s, 1.0) == [(0.0, 1.5), (4.0, 5.5)]
    assert verdict._spans(~everything, np.array([3]), t_s, 1.0) == []


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(1e-4, 0.1))
def test_an_error_of_scale_alone_is_read_back_as_such(seed, sigma):
    t_ns = times(3.0, 0.2)
    states = HeadMotion.drawn(seed).states(t_ns)
    R, p = states.T_world_imu[:, :3, :3], states.T_world_imu[:, :3, 3]
    grown = np.zeros((len(t_ns), 6))
    grown[:, 3:] = np.einsum("nji,nj->ni", R, p - p[0])
    cov = sigma**2 * np.einsum("ia,jb->iajb", grown, grown)
    assert verdict.scale_sigma(states, PoseUncertainty(cov, 0.0, 0.0)) == pytest.approx(sigma, rel=1e-6)


def test_a_camera_that_stays_on_the_spot_has_no_scale():
    states = HeadMotion.drawn(0).states(times(1.0, 0.2)[[0]])
    assert verdict.scale_sigma(states, PoseUncertainty(np.zeros((1, 6, 1, 6)), 0.0, 0.0)) == np.inf


def test_covariance_of_a_relative_motion_agrees_with_drawing_errors():
    t_ns = times(1.0, 1.0)
    states = HeadMotion.drawn(1).states(t_ns)
    rng = np.random.default_rng(6)
    scale = np.tile(np.r_[[2e-3] * 3, [1e-2] * 3], 2)
    factor = scale[:, None] * rng.normal(0, 1, (12, 12)) / np.sqrt(12)
    joint = PoseUncertainty((factor @ factor.T).reshape(2, 6, 2, 6), 0.0, 0.0)
    xi = (rng.normal(0, 1, (40_000, 12)) @ factor.T).reshape(-1, 2, 6)
    T = states.T_world_imu @ se3_exp(xi)
    nominal = inverse(states.T_world_imu[0]) @ states.T_world_imu[1]
    delta = se3_log(inverse(nominal) @ inverse(T[:, 0]) @ T[:, 1])
    drawn = np.cov(delta.T)
    found = verdict.relative_covariance(states, joint, 0, 1)
    size = np.sqrt(np.diag(drawn))
    np.testing.assert_allclose(found / np.outer(size, size), drawn / np.outer(size, size), atol=0.03)


def test_landmarks_of_no_tracks_are_none():
    nothing = Observations(
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros((0, 2)),
        np.zeros((0, 3)),
        np.zeros((0, 2)),
        np.zeros(0, np.int64),
    )
    marks, residual = triangulate(nothing, strafe(2), PINHOLE)
    assert isinstance(marks, Landmarks) and len(marks.track) == 0 and residual.shape == (0, 2)
    assert pixel_noise(nothing, residual).correlation == 0
