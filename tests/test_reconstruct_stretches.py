"""Long takes in stretches: where they are cut, and how they are joined again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handcap.causes import Cause
from handcap.geometry import adjoint, inverse, se3, se3_exp, se3_log, transform, yaw_rotation
from handcap.reconstruct.hands import HandJudgement, HandLimits, HandResult
from handcap.reconstruct.hands.worn import worn_bones
from handcap.reconstruct.joining import joined
from handcap.reconstruct.pieces import by_pose
from handcap.reconstruct.result import Reconstruction
from handcap.reconstruct.rig_take import BodyResult, Recording, Whole
from handcap.reconstruct.stretches import Stretch, StretchParams, stretches
from handcap.reconstruct.verdict import Judgement
from handcap.types import Trajectory

_COUNT = 40


def _path(seed: int) -> Trajectory:
    """A body wandering about."""
    steps = np.random.default_rng(seed).normal(0.0, 0.2, (_COUNT, 6))
    T = np.empty((_COUNT, 4, 4))
    T[0] = se3_exp(steps[0])
    for k in range(1, _COUNT):
        T[k] = T[k - 1] @ se3_exp(steps[k])
    t_ns = np.arange(_COUNT) * 50_000_000
    return Trajectory("head", t_ns + 3_000, t_ns, T, np.zeros((_COUNT, 6, 6)), np.ones(_COUNT, bool))


def _elsewhere(path: Trajectory, yaw_rad: float, shift: np.ndarray) -> Trajectory:
    return replace(path, T_world_body=inverse(se3(yaw_rotation(yaw_rad), shift)) @ path.T_world_body)


shifts = hnp.arrays(float, 3, elements=st.floats(-5, 5))


@given(
    st.integers(1, 30_000),
    st.floats(1.0, 100.0),
    st.floats(1.0, 100.0),
    st.floats(0.0, 5.0),
    st.integers(0, 2**40),
    st.sampled_from([1, 3]),
)
def test_every_picture_belongs_to_one_stretch(count, longest_s, length_s, beyond_s, start_ns, devices):
    camera_t_ns = start_ns + np.arange(count) * 50_000_000
    limits = (longest_s, length_s, 1e9, 1.0) if devices == 1 else (1e9, 1.0, longest_s, length_s)
    found = stretches(camera_t_ns, StretchParams(*limits, beyond_s), devices)
    owners = sum(((camera_t_ns >= s.start_ns) & (camera_t_ns < s.end_ns)).astype(int) for s in found)
    assert (owners == 1).all()
    assert all(s.seen_ns >= s.end_ns and s.start_ns in camera_t_ns for s in found)
    assert len(found) == 1 or camera_t_ns[-1] - camera_t_ns[0] >= (longest_s - 0.1) * 1e9


@given(st.integers(0, 1000), st.floats(-3.0, 3.0), shifts, st.integers(5, 30))
def test_what_follows_a_cut_is_put_back_where_it_was(seed, yaw_rad, shift, cut):
    path = _path(seed)
    after = _elsewhere(path, yaw_rad, shift).where(slice(cut, None))
    placed = by_pose(path.where(slice(0, cut + 3)), after)
    assert placed is not None
    np.testing.assert_allclose(placed.moved(after).T_world_body, path.T_world_body[cut:], atol=1e-9)


@given(st.integers(0, 1000), st.floats(-3.0, 3.0), shifts, hnp.arrays(float, 6, elements=st.floats(-1e-4, 1e-4)))
def test_the_error_of_the_pose_at_the_cut_is_that_of_all_that_follows(seed, yaw_rad, shift, error):
    path, cut = _path(seed), 20
    after = _elsewhere(path, yaw_rad, shift).where(slice(cut, None))
    cov = path.cov.copy()
    cov[cut] = np.outer(error, error)
    before = replace(path, cov=cov).where(slice(0, cut + 1))
    T_wrong = path.T_world_body.copy()
    T_wrong[cut] = T_wrong[cut] @ se3_exp(error)
    right, wrong = by_pose(before, after), by_pose(replace(path, T_world_body=T_wrong).where(slice(0, cut + 1)), after)
    assert right is not None and wrong is not None
    stated = right.moved(after).cov
    off = se3_log(inverse(right.moved(after).T_world_body) @ wrong.moved(after).T_world_body)
    scale = np.linalg.norm(adjoint(inverse(path.T_world_body[cut:]) @ path.T_world_body[cut]), axis=(1, 2)).max()
    np.testing.assert_allclose(stated, off[:, :, None] * off[:, None, :], atol=(1e-4 * scale) ** 2 * 3e-3)


def test_a_stretch_that_shares_no_picture_has_no_place():
    path = _path(0)
    assert by_pose(path.where(slice(0, 10)), path.where(slice(10, None))) is None


_PATH = _path(3)
_CUTS = (0, 15, 28, _COUNT)
_WHERE = [
    Stretch(int(a) * 50_000_000, int(b) * 50_000_000, min(int(b) + 3, _COUNT) * 50_000_000)
    for a, b in zip(_CUTS[:-1], _CUTS[1:], strict=True)
]
_RECORDING = Recording(
    rig=None, cameras={"head": "head"}, recorded=["head"], stamps=lambda camera: _PATH.camera_t_ns,
    frames=None, imu=None, jaw=None,
)  # type: ignore[arg-type]  # fmt: skip


def _solved(stretch: Stretch, shift: float, causes: tuple[Cause, ...] = ()) -> Whole:
    """A stretch in a world of its own."""
    a, b = stretch.start_ns // 50_000_000, stretch.seen_ns // 50_000_000
    rows = _elsewhere(_PATH, 0.3 * shift, np.full(3, shift)).where(slice(a, b))
    span = ((0.0, 0.05 * (b - a - 1)),)
    dense = replace(rows, camera_t_ns=rows.t_ns)
    verdict = "partial" if causes else "ok"
    numbers = {"keyframes": b - a, "reprojection_rms_px": 0.25}
    own = Reconstruction("head", Judgement(verdict, causes, span, rows.tracked, numbers), 1e-3, 1e-4, (None, None))
    body = BodyResult(verdict, span, rows, dense, (1e-3, 1e-3), None)
    return Whole(verdict, causes, span, {"head": own}, {"head": body}, {}, {})


def _refused(stretch: Stretch) -> Whole:
    count = (stretch.seen_ns - stretch.start_ns) // 50_000_000
    causes = (Cause("too_dark", "head", None, 3.0, 12.0),)
    own = Reconstruction("head", Judgement("refused", causes, (), np.zeros(count, bool)), None, None, (None, None))
    return Whole("refused", causes, (), {"head": own}, {}, {}, {})


def test_joined_stretches_are_the_whole_path():
    whole = joined(_RECORDING, [_solved(s, k) for k, s in enumerate(_WHERE)], _WHERE)
    body = whole.bodies["head"]
    assert whole.verdict == body.verdict == "ok"
    np.testing.assert_array_equal(body.poses.camera_t_ns, _PATH.camera_t_ns)
    np.testing.assert_array_equal(body.dense.t_ns, _PATH.t_ns)
    np.testing.assert_allclose(body.poses.T_world_body, _PATH.T_world_body, atol=1e-9)
    np.testing.assert_allclose(whole.spans_ok_s, [(0.0, 0.05 * (_COUNT - 1))])
    assert [each["joined_by"] for each in whole.devices["head"].judgement.numbers["stretches"]] == [
        "start",
        "pose",
        "pose",
    ]
    assert whole.devices["head"].judgement.numbers["keyframes"] == sum(
        (s.seen_ns - s.start_ns) // 50_000_000 for s in _WHERE
    )


def test_a_stretch_that_is_refused_leaves_rows_without_poses_and_says_when():
    parts = [_solved(_WHERE[0], 0), _solved(_WHERE[1], 1), _refused(_WHERE[2])]
    whole = joined(_RECORDING, parts, _WHERE)
    poses = whole.bodies["head"].poses
    assert whole.verdict == "partial"
    assert len(poses) == _COUNT and poses.tracked.sum() == _CUTS[2] and not poses.tracked[_CUTS[2] :].any()
    assert [(cause.code, cause.span_s) for cause in whole.causes] == [("too_dark", (1.4, 2.0))]
    np.testing.assert_allclose(whole.spans_ok_s, [(0.0, 1.4)])


def test_a_span_that_ends_soon_after_a_cut_is_kept_and_a_short_one_by_itself_is_not():
    parts = [_solved(s, k) for k, s in enumerate(_WHERE)]
    lost = (Cause("tracking_lost", "head", (0.1, 0.3), 0.2, 0.5),)
    parts[1] = replace(parts[1], verdict="partial", causes=lost, spans_ok_s=((0.0, 0.1), (0.4, 0.45), (0.6, 0.65)))
    whole = joined(_RECORDING, parts, _WHERE, least_s=0.5)
    np.testing.assert_allclose(whole.spans_ok_s, [(0.0, 0.85), (1.35, 0.05 * (_COUNT - 1))])


def test_what_all_stretches_say_is_said_once():
    doubt = Cause("mount_moved", "head", None, 1.0, 0.3)
    parts = [_solved(s, k, (replace(doubt, measured=1.0 + k),)) for k, s in enumerate(_WHERE)]
    whole = joined(_RECORDING, parts, _WHERE)
    assert whole.causes == (replace(doubt, measured=3.0),)


def test_a_take_of_which_no_stretch_was_solved_is_refused():
    whole = joined(_RECORDING, [_refused(s) for s in _WHERE], _WHERE)
    assert whole.verdict == "refused" and not whole.bodies and not whole.spans_ok_s
    assert [cause.code for cause in whole.causes] == ["too_dark"]


def test_places_that_are_known_too_badly_in_the_end_are_drifting():
    parts = [_solved(s, k) for k, s in enumerate(_WHERE)]
    cov = np.broadcast_to(np.eye(6) * 0.1**2, (len(parts[0].bodies["head"].poses), 6, 6))
    body = parts[0].bodies["head"]
    parts[0] = replace(parts[0], bodies={"head": replace(body, poses=replace(body.poses, cov=cov))})
    whole = joined(_RECORDING, parts, _WHERE, most_sigma_m=0.15)
    assert whole.verdict == "refused" and {cause.code for cause in whole.causes} == {"drifting"}


def _with_hand(part: Whole, bones_m: float | None) -> Whole:
    """A stretch whose left hand is 0.4 m ahead of the head, its bones solved if `bones_m` is given."""
    poses = replace(part.bodies["head"].poses, body="left_hand")
    joints = transform(poses.T_world_body, np.array([0.4, 0.1, -0.2]))[:, None] * np.ones((1, 21, 1))
    n, solved = len(poses), bones_m is not None
    numbers = {
        "seen": 1.0, "bones_solved": float(solved), "bones_m": [bones_m or 0.9] * 20, "bones_sigma_m": [0.002] * 20
    }  # fmt: skip
    hand = HandResult(poses, joints, np.full((n, 21), 0.01), np.ones(n), np.full(n, 2), numbers)
    span = part.spans_ok_s
    return replace(
        part, hands={"left_hand": hand}, hand_judgements={"left_hand": HandJudgement("ok", (), span, numbers)}
    )


def test_hands_of_stretches_are_one_hand_whose_bones_are_those_that_were_solved():
    bones = (0.03, None, 0.05)
    parts = [_with_hand(_solved(s, k), b) for k, (s, b) in enumerate(zip(_WHERE, bones, strict=True))]
    hand = joined(_RECORDING, parts, _WHERE).hands["left_hand"]
    expected = transform(_PATH.T_world_body, np.array([0.4, 0.1, -0.2]))
    np.testing.assert_allclose(hand.joints_world, expected[:, None] * np.ones((1, 21, 1)), atol=1e-9)
    report = {"bodies": {"left_hand": {"numbers": dict(hand.numbers)}}}
    worn = worn_bones({"0001": report})
    assert worn is not None
    np.testing.assert_allclose(worn.lengths_m, 0.04)


def test_a_hand_that_hides_in_one_stretch_is_lost_there_and_seen_in_most_of_the_take():
    parts = [_with_hand(_solved(stretch, k), None) for k, stretch in enumerate(_WHERE)]
    hand = parts[1].hands["left_hand"]
    hidden = replace(
        hand,
        poses=replace(hand.poses, tracked=np.zeros(len(hand.poses), bool)),
        joint_sigma_m=np.full_like(hand.joint_sigma_m, np.nan),
        views=np.zeros_like(hand.views),
    )
    never = HandJudgement("refused", (Cause("hand_never_seen", "left_hand"),), ())
    parts[1] = replace(parts[1], hands={"left_hand": hidden}, hand_judgements={"left_hand": never})
    whole = joined(_RECORDING, parts, _WHERE, hand_limits=HandLimits(longest_unseen_s=0.2))
    told = whole.hand_judgements["left_hand"]
    assert told.verdict == "partial" and [cause.code for cause in told.causes] == ["hand_lost"]
    away_s = (_WHERE[1].end_ns - _WHERE[1].start_ns) / 1e9
    (cause,) = told.causes
    assert cause.measured == pytest.approx(away_s, abs=0.11)
    assert told.numbers["seen"] == pytest.approx(1 - away_s / (0.05 * _COUNT), abs=0.03)
