"""Bare hands: views meet, bones give scale, smoothing does not lag, hands keep their side, unseen is null."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from handcap import models, session, sim
from handcap.cameras import PinholeRadtan
from handcap.errors import ModelError
from handcap.geometry import Array, se3, so3_exp, transform
from handcap.reconstruct import run_session
from handcap.reconstruct.hands import identity
from handcap.reconstruct.hands.anatomy import AnatomyParams, within_limits
from handcap.reconstruct.hands.bare import HandParams, _smoothed  # pyright: ignore[reportPrivateUsage]
from handcap.reconstruct.hands.bones import lengths_m
from handcap.reconstruct.hands.detector import Landmarks, Picture
from handcap.reconstruct.hands.distance import held_distance
from handcap.reconstruct.hands.fit import FitParams, Views, fitted
from handcap.reconstruct.hands.flesh import depth_m
from handcap.reconstruct.hands.follow import Follower, Moment, _Track  # pyright: ignore[reportPrivateUsage]
from handcap.reconstruct.hands.sighting import Sighting
from handcap.reconstruct.hands.smooth import smoothed, stretches
from handcap.reconstruct.hands.triangulate import triangulated
from handcap.reconstruct.hands.virtual_view import VirtualView
from handcap.reconstruct.hands.wrist import wrist_pose
from handcap.reconstruct.score import in_world_of
from handcap.sim.hand import Hand, HandShape, grips, skeleton
from handcap.types import MountedCamera, Side

DERIVED = Path("derived/0001/reconstruct")
T_A_B = se3(so3_exp([0.02, -0.1, 0.03]), [0.11, 0.004, -0.01])


def _hand(away_m: float = 0.5) -> Array:
    """(21, 3) joints before a camera."""
    shape = HandShape(side="right", length_m=0.18)
    joints = Hand(shape).joints_wrist(grips.relaxed())
    return transform(se3(so3_exp([0.9, 0.4, -1.2]), [0.03, 0.05, away_m]), joints)


def _unit(p: Array) -> Array:
    return p / np.linalg.norm(p, axis=-1, keepdims=True)


def _views(origin: Array, rays: Array, relative_m: Array, skin_m: Array | None = None) -> Views:
    """One moment, seen by all (v) views."""
    unknown = np.full(rays.shape[:2], np.nan)
    seen = np.ones((1, len(origin)), bool)
    return Views(
        origin, rays[None], relative_m[None], seen, (unknown if skin_m is None else skin_m)[None], seen.astype(float)
    )


def test_two_exact_views_meet_in_the_point_itself() -> None:
    joints = _hand()
    in_b = transform(np.linalg.inv(T_A_B), joints)
    np.testing.assert_allclose(triangulated(T_A_B, _unit(joints), _unit(in_b)), joints, atol=1e-8)


def test_rays_that_part_meet_nowhere() -> None:
    assert np.isnan(triangulated(T_A_B, np.array([[-0.6, 0.0, 0.8]]), np.array([[0.6, 0.0, 0.8]]))).all()


@pytest.mark.parametrize("away_m", [0.3, 0.45, 0.7])
def test_the_wearers_bones_give_one_view_its_scale(away_m: float) -> None:
    joints = _hand(away_m)
    shape = 0.7 * (joints - joints[0])  # a network knows the shape, not the size
    views = _views(np.zeros((1, 3)), _unit(joints)[None], shape[None])
    found = fitted(views, lengths_m(joints), 0.02, FitParams())
    assert np.linalg.norm(found.joints[0] - joints, axis=1).max() < 1e-3
    assert np.sqrt(found.cov[0, 2, 2]) > 0.019 * away_m  # bones known to 2 % leave the distance known to 2 %


def test_two_views_tell_how_far_a_hand_of_unknown_size_is() -> None:
    joints = _hand()
    rays = np.stack([_unit(joints), _unit(joints - [0.11, 0.0, 0.0])])
    views = _views(np.array([[0.0] * 3, [0.11, 0.0, 0.0]]), rays, np.stack([joints, joints]))
    found = fitted(views, 0.8 * lengths_m(joints), 0.3, FitParams())
    assert abs(np.exp(found.log_size[0]) - 1 / 0.8) < 0.02
    assert np.linalg.norm(found.joints[0] - joints, axis=1).max() < 5e-3
    assert found.log_size_sigma[0] < 0.1


@pytest.mark.parametrize("away_m", [0.3, 0.45, 0.7])
def test_skin_that_is_measured_says_how_far_a_hand_of_unknown_size_is(away_m: float) -> None:
    joints, eye = _hand(away_m), np.zeros(3)
    rays = _unit(joints)
    skin_m = np.linalg.norm(joints, axis=1) - depth_m(joints, eye, rays)
    skin_m[17] -= 0.1  # a thing before the little finger's root
    bones_m = 0.7 * lengths_m(joints)
    found = fitted(_views(eye[None], rays[None], joints[None], skin_m[None]), bones_m, 0.3, FitParams())
    assert np.linalg.norm(found.joints[0] - joints, axis=1).mean() < 8e-3
    without = fitted(_views(eye[None], rays[None], joints[None]), bones_m, 0.3, FitParams())
    assert found.cov[0, 29, 29] < without.cov[0, 29, 29] / 5  # of the middle finger's root, along the view


def test_a_finger_that_the_network_draws_short_is_as_long_as_the_wearers() -> None:
    joints = _hand()
    short = joints.copy()
    short[9:13] = joints[9] + 0.6 * (joints[9:13] - joints[9])
    bones_m = lengths_m(joints)
    views = _views(np.zeros((1, 3)), _unit(short)[None], short[None])
    held = fitted(views, bones_m, 0.02, FitParams())
    loose = fitted(views, bones_m, 0.02, FitParams(finger_m=1.0))
    middle = [6, 7, 8]  # of the bones
    assert (abs(lengths_m(held.joints[0]) - bones_m)[middle] < 0.25 * bones_m[middle]).all()
    off = [np.linalg.norm(found.joints[0] - joints, axis=1)[10:13].mean() for found in (held, loose)]
    assert off[0] < 0.8 * off[1]


@pytest.mark.parametrize("tip", [8, 12, 16])
def test_a_finger_is_not_before_the_skin_that_is_seen_but_may_be_behind_it(tip: int) -> None:
    flat = transform(se3(so3_exp([0.1, -0.2, 0.3]), [0.0, 0.0, 0.5]), Hand(HandShape()).joints_wrist(grips.flat()))
    rays, eye = _unit(flat), np.zeros(3)
    skin_m = np.linalg.norm(flat, axis=1) - depth_m(flat, eye, rays)

    def moved_m(deeper_m: float) -> float:
        other = np.where(np.arange(21) == tip, skin_m + deeper_m, skin_m)
        found = [
            fitted(_views(eye[None], rays[None], flat[None], skin[None]), lengths_m(flat), 0.02, FitParams())
            for skin in (skin_m, other)
        ]
        return float((found[1].joints[0, tip] - found[0].joints[0, tip]) @ rays[tip])

    behind_m, before_m = moved_m(0.015), moved_m(-0.015)
    assert behind_m > 0.0015 and before_m < 0 and -before_m < 0.6 * behind_m


LENS = PinholeRadtan(640, 480, (430.0, 430.0, 319.5, 239.5, 0.0, 0.0, 0.0, 0.0))


class _Network:
    """Answers with a hand in the picture's middle, told apart from a mirrored picture by its brightness."""

    def __init__(self, joints: Array, beside_m: Array, right: float, mirrored_right: float) -> None:
        view = VirtualView.upright(_unit(joints), 224)
        self._pixel = view.flat(_unit(joints)) * view.focal_px + 111.5
        self._relative_m = (joints - joints.mean(axis=0)) @ view.R_cam_view
        self._beside_m, self._right, self._mirrored_right = beside_m, right, mirrored_right
        self.asked = 0

    def look(self, picture: Picture) -> list[Landmarks]:
        return []

    def refine(self, picture: Picture) -> Landmarks:
        self.asked += 1
        plain = Landmarks(self._pixel, self._relative_m, self._right, 0.97)
        if picture[:, :112].mean() > picture[:, 112:].mean():
            plain = replace(plain.mirrored(224), right=self._mirrored_right)
        return replace(plain, relative_m=plain.relative_m + self._beside_m)


def _seen_by(network: _Network, joints: Array) -> Sighting:
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (480, 1, 3))
    follower = Follower(network, {"head": MountedCamera("head", LENS, np.eye(4))}, ("left", "right"), 1)
    moment = Moment(0, 0, {"head": ramp}, np.eye(4))
    sighting = follower._refined("head", joints, "right", moment)  # pyright: ignore[reportPrivateUsage]
    assert sighting is not None
    return sighting


def test_what_the_network_sees_to_one_side_of_a_joint_it_sees_to_the_other_in_the_mirrored_picture() -> None:
    joints = _hand()
    beside_m = np.where(np.arange(21)[:, None] == 8, [0.006, 0.0, 0.0], 0.0)
    sighting = _seen_by(_Network(joints, beside_m, 0.95, 0.05), joints)
    np.testing.assert_allclose(sighting.relative_cam_m, joints - joints.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_a_hand_hidden_behind_the_other_does_not_take_its_place(order: tuple[Side, Side]) -> None:
    joints, sides = _hand(), {"left": -2.0, "right": 6.0}
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8)[None, :, None], (480, 1, 3))
    network = _Network(joints, np.zeros((21, 3)), 0.9, 0.1)
    follower = Follower(network, {"head": MountedCamera("head", LENS, np.eye(4))}, order, 1)
    before = {side: _Track(joints, np.zeros(3), 0, belief) for side, belief in sides.items()}
    follower._tracks.update(before)  # pyright: ignore[reportPrivateUsage]
    follower.step(Moment(0, 50_000_000, {"head": ramp}, np.eye(4)))
    assert set(follower.seen[0]) == {("head", "right")}
    tracks = follower._tracks  # pyright: ignore[reportPrivateUsage]
    assert tracks["left"] is before["left"] and tracks["right"].t_ns == 50_000_000


def test_a_right_hand_that_the_network_takes_for_a_left_one_is_looked_at_again() -> None:
    joints, still = _hand(), np.zeros((21, 3))
    sure, doubted = (_Network(joints, still, right, 0.1) for right in (0.95, 0.05))
    assert _seen_by(doubted, joints).right > 0.8 and _seen_by(sure, joints).right > 0.8
    assert doubted.asked > sure.asked


def test_a_joint_lies_under_its_own_skin_and_deeper_behind_the_rest_of_the_hand() -> None:
    joints = transform(np.linalg.inv(wrist_pose(_hand(), "right")), _hand())  # z out of the back
    above = np.array([0.05, 0.0, 0.5])
    from_above = depth_m(joints, above, _unit(joints - above))
    assert ((from_above[[5, 9, 13, 17]] > 0.0149) & (from_above[[5, 9, 13, 17]] < 0.02)).all()
    beside = np.array([0.08, 0.5, 0.0])  # on the thumb's side
    from_side = depth_m(joints, beside, _unit(joints - beside))
    assert from_side[17] > 0.05 and from_side[5] < 0.04


def test_a_hand_that_one_camera_sees_is_as_far_as_when_two_saw_it() -> None:
    t_s = np.arange(5) * 0.05
    joints = np.stack([_hand()] * 5)
    joints[2:4] *= 1.3  # one view, fooled about the size
    several = np.array([True, True, False, False, True])
    loose = 0.15 * joints.reshape(5, 63)
    cov = np.einsum("na,nb->nab", loose, loose) + 0.005**2 * np.eye(63)
    found, spread = held_distance(t_s, joints, cov, np.zeros((5, 3)), several)
    np.testing.assert_array_equal(found[several], joints[several])
    off = np.linalg.norm(found - _hand(), axis=2)
    assert off.max() < 0.15 * np.linalg.norm(joints[2] - _hand(), axis=1).max()
    assert (np.linalg.eigvalsh(spread) > 0).all() and spread[2, 2, 2] < 0.5 * cov[2, 2, 2]


@pytest.mark.parametrize("turn", [-2.5, -0.7, 0.0, 1.9])
def test_a_hand_is_shown_to_the_network_upright_and_palm_filling_half(turn: float) -> None:
    rays = _unit(_hand() @ so3_exp([0.0, 0.0, turn]).T + [0.2, 0.1, 0.0])
    view = VirtualView.upright(rays, 224)
    px = view.flat(rays) * view.focal_px + 111.5
    knuckles = (px[5] + px[13]) / 4 + px[9] / 2
    assert abs(knuckles[0] - px[0, 0]) < 8 and knuckles[1] < px[0, 1] - 20
    palm = np.ptp(px[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]], axis=0).max()
    assert 0.45 < palm / 224 < 0.55
    np.testing.assert_allclose(view.rays_cam(px), rays, atol=1e-9)


def test_a_picture_in_which_the_head_was_lost_costs_the_hand_that_picture_alone() -> None:
    t_ns = 33_000_000 * np.arange(60, dtype=np.int64)
    joints = np.broadcast_to(np.linspace(0, 0.3, 60)[:, None, None], (60, 21, 3)) + 0.01
    cov = np.broadcast_to(1e-4 * np.eye(63), (60, 63, 63))
    known = np.arange(60) != 30
    seen = joints.copy()
    seen[30] = np.nan
    out, _, confidence = _smoothed(t_ns, seen, cov, np.where(known, 1.0, np.nan), known, HandParams())
    np.testing.assert_array_equal(np.isfinite(out[:, 0, 0]), known)
    np.testing.assert_allclose(out[known], joints[known], atol=1e-3)
    assert (confidence[known] == 1).all()


def test_a_path_of_least_jerk_is_smoothed_without_lag() -> None:
    t_ns = np.arange(60, dtype=np.int64) * 50_000_000
    s = np.clip((t_ns / 1e9 - 0.5) / 1.2, 0, 1)
    exact = (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None] * np.array([0.4, -0.1, 0.2])  # Flash and Hogan 1985
    noisy = exact + np.random.default_rng(0).normal(0, 0.008, exact.shape)
    noisy[30] += 0.3
    found, weight = smoothed(t_ns, noisy, np.tile(0.008**2 * np.eye(3), (60, 1, 1)), 80.0)
    lags = range(-3, 4)
    misses = [np.sum((found[5 + k : 55 + k] - exact[5:55]) ** 2) for k in lags]
    assert lags[int(np.argmin(misses))] == 0
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.7 * 0.008 and weight[30] < 0.2


def test_long_gaps_are_not_filled() -> None:
    t_ns = np.arange(40, dtype=np.int64) * 50_000_000
    seen = np.ones(40, bool)
    seen[[10, 20, 21, 22, 23]] = False
    first, second = stretches(t_ns, seen, 0.12)
    assert list(first) == list(range(20)) and list(second) == list(range(24, 40))


def test_one_wrong_answer_of_the_network_swaps_no_hand() -> None:
    belief = 0.0
    for right in [0.9] * 8 + [0.02, 0.05] + [0.9] * 3:
        belief = identity.gathered(belief, right)
        assert identity.supports(belief, "right") > -3.0
    for _ in range(20):
        belief = identity.gathered(belief, 0.02)
    assert identity.supports(belief, "left") > 3.0  # but a lasting one does


def test_hands_that_cross_are_two_hands_and_keep_their_sides() -> None:
    right = _unit(_hand())
    left = _unit(_hand() * [-1, 1, 1] + [0.06, 0, 0])
    assert not identity.same_hand(right, left) and identity.same_hand(right, right + 1e-3)
    assert identity.assigned([0.9, 0.2], [-0.2, 0.2], ("left", "right")) == {"right": 0, "left": 1}
    assert identity.assigned([0.9], [0.1], ("left",)) == {}


def test_the_wrist_frame_is_that_of_the_design() -> None:
    for side in ("left", "right"):
        T = se3(so3_exp([0.3, -0.8, 0.5]), [0.1, 0.2, 0.3])
        joints = transform(T, Hand(HandShape(side=side)).joints_wrist(grips.relaxed()))
        np.testing.assert_allclose(wrist_pose(joints, side), T, atol=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_postures_that_hands_take_are_left_alone(side: Side) -> None:
    low, high = skeleton.LIMITS_RAD.T
    angles = np.random.default_rng(4).uniform(low, high, (400, len(low)))
    joints = transform(T_A_B, Hand(HandShape(side=side)).joints_wrist(angles))
    found, beyond_m = within_limits(joints, np.tile(1e-4 * np.eye(63), (400, 1, 1)), side, AnatomyParams())
    assert (beyond_m > 0).any(axis=1).mean() < 0.01 and beyond_m.max() < 0.005
    assert np.linalg.norm(found - joints, axis=2).max() < 0.005


def _bent_back(side: Side, degrees: float) -> Array:
    """(1, 21, 3) a flat hand whose middle finger is bent backwards in its second joint."""
    angles = grips.flat()
    angles[skeleton.ANGLES.index("middle_pip_flexion")] = -np.deg2rad(degrees)
    return transform(T_A_B, Hand(HandShape(side=side)).joints_wrist(angles))[None]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_finger_bent_backwards_a_little_is_brought_back_and_keeps_its_bones(side: Side) -> None:
    joints, cov = _bent_back(side, 35.0), 1e-4 * np.eye(63)[None]
    found, beyond_m = within_limits(joints, cov, side, AnatomyParams())
    assert set(np.flatnonzero(beyond_m[0])) == {11, 12}  # what hangs on that joint
    assert 0.002 < beyond_m.max() < 0.02
    again, left_m = within_limits(found, cov, side, AnatomyParams())
    assert left_m.max() < 1e-3 and np.linalg.norm(again - found, axis=2).max() < 1e-3
    np.testing.assert_allclose(lengths_m(found), lengths_m(joints), atol=1e-9)
    others = [j for j in range(21) if j not in (11, 12)]
    assert np.linalg.norm(found - joints, axis=2)[0, others].max() < 0.01


def test_a_finger_bent_far_backwards_is_left_and_known_to_be_off_by_as_much() -> None:
    joints = _bent_back("right", 80.0)
    found, beyond_m = within_limits(joints, 1e-4 * np.eye(63)[None], "right", AnatomyParams())
    np.testing.assert_array_equal(found, joints)
    allowed = _bent_back("right", 15.0)
    assert (beyond_m[0, [11, 12]] > 0.5 * np.linalg.norm(joints - allowed, axis=2)[0, [11, 12]]).all()
    assert beyond_m[0, 12] > 0.02 and not beyond_m[0, :11].any()


@pytest.mark.slow
def test_a_virtual_take_yields_both_hands_and_null_where_unseen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        models.ensure(models.HAND_LANDMARKER)
    except ModelError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    folder = tmp_path / "take"
    sim.simulate(folder, rig="hands", seconds=4.0, seed=201)
    (result,) = run_session(folder)
    assert result.verdict == "ok" and not result.causes
    assert "WARNING" not in capfd.readouterr().err  # the networks' libraries speak to the terminal, past Python
    head = session.read_trajectory(folder / DERIVED / "head.parquet")
    world = in_world_of(session.read_trajectory(folder / "truth/head_imu.parquet"), head)
    for side in ("left", "right"):
        rows = session.read_trajectory(folder / DERIVED / f"{side}_hand.parquet")
        assert list(rows.camera_t_ns) == list(head.camera_t_ns)
        table = pq.read_table(folder / DERIVED / f"{side}_hand.parquet")
        joints = table["joints_world"].to_pylist()
        assert [j is not None for j in joints] == list(rows.tracked)
        assert rows.tracked.mean() >= 0.8  # the left one ends behind its sleeve
        assert table["confidence"].null_count == table["joint_sigma_m"].null_count == (~rows.tracked).sum()
        found = np.array([j for j in joints if j is not None]).reshape(-1, 21, 3)
        exact = np.array(pq.read_table(folder / f"truth/{side}_hand.parquet")["joints_world"].to_pylist())
        exact = exact.reshape(-1, 21, 3)[: len(rows)][rows.tracked]
        off_m = np.linalg.norm(world.apply(found.reshape(-1, 3)).reshape(-1, 21, 3) - exact, axis=-1)
        print(f"virtual rig, {side} hand: {1e3 * off_m.mean():.1f} mm mean, {1e3 * np.median(off_m):.1f} median")
        assert np.median(off_m) < 0.03  # the right hand, not the other one; how exact: bench/bare_hands.py
        assert np.isfinite(rows.cov[rows.tracked]).all()
    assert "left_hand" in result.report["bodies"]


def test_hands_wanted_without_weights_are_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sim.simulate(tmp_path / "take", rig="head", seconds=1.0)
    with pytest.raises(ModelError, match="not fetched") as told:
        run_session(tmp_path / "take", hands=True)
    assert "handcap models fetch" in str(told.value.mend)
    assert not (tmp_path / "take" / "derived").exists()
