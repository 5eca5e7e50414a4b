"""Bare hands of one take in the world of the head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.geometry import Array, adjoint, inverse, transform
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.hands import bones
from handcap.reconstruct.hands.anatomy import AnatomyParams, within_limits
from handcap.reconstruct.hands.detector import HandDetector
from handcap.reconstruct.hands.distance import held_distance
from handcap.reconstruct.hands.fit import FitParams, fitted
from handcap.reconstruct.hands.follow import Follower, FollowParams, Moment, holds_hands
from handcap.reconstruct.hands.sighting import Sighting, views_of
from handcap.reconstruct.hands.smooth import smoothed, stretches
from handcap.reconstruct.hands.verdict import HandJudgement, HandLimits, HandRows, judge
from handcap.reconstruct.hands.worn import WornBones
from handcap.reconstruct.hands.wrist import wrist_covariance, wrist_pose
from handcap.types import Frame, MountedCamera, Side, Stamps, Trajectory


@dataclass(frozen=True, slots=True)
class HandParams:
    """Tuning of bare hands."""

    on: bool = False
    probe_every_s: float = 0.8  # of the pictures looked at before anything else
    most_probes: int = 24
    follow: FollowParams = field(default_factory=FollowParams)
    fit: FitParams = field(default_factory=FitParams)
    anatomy: AnatomyParams = field(default_factory=AnatomyParams)
    limits: HandLimits = field(default_factory=HandLimits)
    most_cameras: int = 2  # of the head; 1 measures what a single view is worth
    same_time_s: float = 0.004  # cameras of one device share a trigger
    least_pairs: int = 8  # to solve the wearer's bones
    bone_sigma: float = 0.02  # relative, of lengths solved from two views
    worn_sigma: float = 0.03  # of those that earlier takes of the session solved
    look_sigma: float = 0.06  # of the size a hand seems to have in one picture
    loose_sigma: float = 0.3  # before they are solved
    guess_sigma: float = 0.08  # of those of a usual adult
    # Per axis, of a hand where two cameras look: known no better, it is as good as unseen. On eight virtual takes
    # (seeds 201 to 204, 331 to 334) the others were 10.3 mm off.
    most_sigma_m: float = 0.015
    longest_gap_s: float = 0.12
    shortest_s: float = 0.2  # a hand seen for less is a mistake
    jerk_m_s3: float = 25.0  # of a hand at housework
    cov_scale: float = 1.7  # of covariances: the network errs alike in neighbouring pictures
    # By which the network's joints lie beside the anatomical ones for long, per axis: the wrist and the fingers' roots,
    # then joint by joint to the tips. Like cov_scale measured on four virtual takes (seeds 201 to 204).
    beside_m: tuple[float, float, float, float] = (0.006, 0.007, 0.012, 0.017)


@dataclass(frozen=True, eq=False, slots=True)
class HandResult:
    """One hand.

    Attributes:
        poses: frame wrist_<side>, a row per picture of the followed head camera; untracked where unseen.
        joints_world: (n, 21, 3) m, NaN where unseen.
        joint_sigma_m: (n, 21) per axis, NaN where unseen.
        confidence: (n,) 0..1, NaN where unseen.
        views: (n,) cameras that see it, 0 where a short gap was filled.
        numbers: what it rests on; `bones_m` and `bones_sigma_m` (20,) in the order of `bones.HAND_BONES`.
    """

    poses: Trajectory
    joints_world: Array
    joint_sigma_m: Array
    confidence: Array
    views: NDArray[np.int64]
    numbers: Mapping[str, Any]

    def rows(self) -> HandRows:
        """What its verdict rests on."""
        return HandRows(self.joint_sigma_m.mean(axis=1), self.views)


Seen = list[dict[str, Sighting]]


@dataclass(frozen=True, eq=False, slots=True)
class _Sized:
    """(26,) bones to fit with and how sure their scale is; (20,) what this take alone says, if it `solved` them."""

    bones_m: Array
    sigma: float
    own_m: Array
    solved: bool


def find_hands(
    frames: Callable[[str], Iterator[Frame]],
    mounts: Mapping[str, MountedCamera],
    chain: Chain,
    sides: Sequence[Side],
    detector: HandDetector,
    params: HandParams | None = None,
    worn: WornBones | None = None,
) -> dict[Side, HandResult]:
    """Both hands, or those of `sides`; none where none is seen.

    Args:
        frames: RGB pictures of a head camera from the beginning, each time it is called.
        mounts: the head's cameras; the first is the one the chain follows.
        chain: the head in its world.
        sides: without a gripper.
        detector: finds hands in pictures.
        worn: the wearer's bones, from earlier takes.
    """
    params = params or HandParams()
    first = next(iter(mounts))
    mounts = dict(islice(mounts.items(), params.most_cameras))
    period_s = float(np.median(np.diff(chain.camera_t_ns))) / 1e9
    step = max(round(params.probe_every_s / period_s), 1, len(chain.camera_t_ns) // params.most_probes)
    with ThreadPoolExecutor(len(mounts)) as pool:
        follower = Follower(detector, mounts, sides, len(chain.camera_t_ns), params.follow, pool)
        if not holds_hands(follower, first, (f.image for f in islice(frames(first), step // 2, None, step))):
            return {}
        for moment in _moments(frames, mounts, chain, params):
            follower.step(moment)
    return reconstructed(follower.seen, mounts, chain, sides, params, worn)


def reconstructed(
    seen: Sequence[Mapping[tuple[str, Side], Sighting]],
    mounts: Mapping[str, MountedCamera],
    chain: Chain,
    sides: Sequence[Side],
    params: HandParams,
    worn: WornBones | None = None,
) -> dict[Side, HandResult]:
    """Hands from what was seen of them, a row per picture of the chain."""
    by_side: dict[Side, Seen] = {
        side: [{camera: s for (camera, of), s in row.items() if of == side} for row in seen] for side in sides
    }
    # Both hands of a person are as long as each other.
    sized = _sized([row for rows in by_side.values() for row in rows], mounts, params, worn)
    out: dict[Side, HandResult] = {}
    for side, rows in by_side.items():
        found = _hand(rows, mounts, chain, side, sized, params)
        if found is not None:
            out[side] = found
    return out


def judged_hands(
    found: Mapping[Side, HandResult], chain: Chain, sides: Sequence[Side], limits: HandLimits
) -> dict[Side, HandJudgement]:
    """A verdict on each of `sides`, found or not."""
    return {
        side: judged_hand(f"{side}_hand", found.get(side), chain.camera_t_ns, chain.tracked, limits) for side in sides
    }


def judged_hand(
    body: str, hand: HandResult | None, camera_t_ns: Stamps, known: NDArray[np.bool_], limits: HandLimits
) -> HandJudgement:
    """A verdict on one hand, found or not.

    Args:
        camera_t_ns: (n,) pictures of the followed camera.
        known: (n,) whether the head has a pose.
    """
    rows = HandRows.unseen(len(camera_t_ns)) if hand is None else hand.rows()
    told = judge(body, camera_t_ns, rows, known, limits)
    return replace(told, numbers={"seen": 0.0, "two_views": 0.0} if hand is None else hand.numbers)


def _moments(
    frames: Callable[[str], Iterator[Frame]], mounts: Mapping[str, MountedCamera], chain: Chain, params: HandParams
) -> Iterator[Moment]:
    """Pictures of one time each, in the chain's order; where the head is lost it is taken to rest."""
    first, *others = mounts
    row_of = {int(t): k for k, t in enumerate(chain.camera_t_ns)}
    T_world_imu = chain.pictures("head").T_world_body
    known = np.maximum.accumulate(np.where(chain.tracked, np.arange(len(chain.tracked)), -1))
    streams = {camera: frames(camera) for camera in others}
    heads: dict[str, Frame | None] = {camera: next(stream, None) for camera, stream in streams.items()}
    near_ns = params.same_time_s * 1e9
    for frame in frames(first):
        pictures = {first: frame.image}
        for camera, stream in streams.items():
            # Stamps are each camera's own clock.
            lead_ns = round((mounts[camera].dt_imu_cam_s - mounts[first].dt_imu_cam_s) * 1e9)
            head = heads[camera]
            while head is not None and head.t_ns + lead_ns < frame.t_ns - near_ns:
                head = next(stream, None)
            heads[camera] = head
            if head is not None and abs(head.t_ns + lead_ns - frame.t_ns) <= near_ns:
                pictures[camera] = head.image
        row = row_of.get(frame.t_ns)
        if row is not None:
            T = T_world_imu[known[row]] if known[row] >= 0 else np.eye(4)
            yield Moment(row, frame.t_ns, pictures, T)


def _hand(
    seen: Seen,
    mounts: Mapping[str, MountedCamera],
    chain: Chain,
    side: Side,
    sized: _Sized,
    params: HandParams,
) -> HandResult | None:
    head = chain.pictures("head")
    T_world_imu, n = head.T_world_body, len(seen)
    joints, local_cov, confidence = _placed(seen, mounts, chain, T_world_imu, sized.bones_m, sized.sigma, params)
    joints, local_cov, confidence = _smoothed(chain.t_ns, joints, local_cov, confidence, chain.tracked, params)
    along_finger = np.r_[0, np.tile(np.arange(4), 5)]
    local_cov = local_cov + np.diag(np.repeat(np.array(params.beside_m)[along_finger] ** 2, 3))
    tracked = np.isfinite(joints[:, 0, 0])
    if len(mounts) > 1:
        unsure = np.sqrt(np.trace(local_cov, axis1=1, axis2=2) / 63) > params.most_sigma_m
        joints[unsure], confidence[unsure] = np.nan, np.nan
        tracked &= ~unsure
    if not tracked.any():
        return None
    joints[tracked], beyond_m = within_limits(joints[tracked], local_cov[tracked], side, params.anatomy)
    # A joint seen where it cannot be may lie as far off to any side.
    local_cov[tracked] += beyond_m.repeat(3, axis=1)[:, :, None] ** 2 * np.eye(63)
    T = np.full((n, 4, 4), np.nan)
    T[tracked] = wrist_pose(joints[tracked], side)
    cov = np.full((n, 6, 6), np.nan)
    A = adjoint(inverse(T[tracked]) @ T_world_imu[tracked])
    of_head = head.cov[tracked]
    cov[tracked] = wrist_covariance(joints[tracked], local_cov[tracked], side) + A @ of_head @ np.swapaxes(A, -1, -2)
    sigma = np.full((n, 21), np.nan)
    sigma[tracked] = _joint_sigma_m(joints[tracked], local_cov[tracked], T_world_imu[tracked], of_head)
    numbers = {
        "seen": float(tracked.mean()),
        "two_views": float(np.mean([len(row) > 1 for row in seen])),
        "palm_mm": 1e3 * float(sized.bones_m[17]),
        "bones_solved": float(sized.solved),
        "bones_m": sized.own_m.tolist(),
        "bones_sigma_m": (sized.own_m * bones.SIGMA).tolist(),
        "beyond_limits": float((beyond_m > 0).any(axis=1).mean()),
    }
    poses = Trajectory(f"{side}_hand", chain.t_ns, chain.camera_t_ns, T, cov, tracked)
    return HandResult(poses, joints, sigma, confidence, np.array([len(row) for row in seen], np.int64), numbers)


def _placed(
    seen: Seen,
    mounts: Mapping[str, MountedCamera],
    chain: Chain,
    T_world_imu: Array,
    bones_m: Array,
    bone_sigma: float,
    params: HandParams,
) -> tuple[Array, Array, Array]:
    """Every moment by itself, in the world: (n, 21, 3) joints, (n, 63, 63) covariance beside the head's, (n,)
    confidence; NaN where the hand or the head is not seen.
    """
    n = len(seen)
    joints, cov, confidence = np.full((n, 21, 3), np.nan), np.full((n, 63, 63), np.nan), np.full(n, np.nan)
    rows = np.flatnonzero(np.array([bool(row) for row in seen]) & chain.tracked)
    if not len(rows):
        return joints, cov, confidence
    several = np.array([_tells_distance(seen[i]) for i in rows])
    # Two views see how far a hand is; one sees how large it looks, which the network often gets wrong.
    size_sigma = np.where(several, bone_sigma, np.hypot(bone_sigma, params.look_sigma))
    found = fitted(views_of([seen[i] for i in rows], mounts), bones_m, size_sigma, params.fit)
    R = T_world_imu[rows, :3, :3]
    turned = np.einsum("nab,nibjc,ndc->niajd", R, found.cov.reshape(-1, 21, 3, 21, 3), R, optimize=True)
    joints[rows], cov[rows] = held_distance(
        seconds(chain.t_ns[rows], int(chain.t_ns[0])),
        transform(T_world_imu[rows, None], found.joints),
        params.cov_scale * turned.reshape(-1, 63, 63),
        np.array([(T_world_imu[i] @ mounts[next(iter(seen[i]))].T_imu_cam)[:3, 3] for i in rows]),
        several,
    )
    confidence[rows] = np.where(several, 1.0, 0.7) / (1 + np.maximum(found.cost - 1, 0.0) / 4)
    return joints, cov, confidence


def _sized(
    seen: Seen, mounts: Mapping[str, MountedCamera], params: HandParams, worn: WornBones | None = None
) -> _Sized:
    """The wearer's lengths: the network's proportions, as large as two views show and as earlier takes say."""
    shapes = np.array([s.relative_cam_m for row in seen for s in row.values()]).reshape(-1, 21, 3)
    if not len(shapes):
        unknown = np.full(len(bones.BONES), np.nan)
        return _Sized(unknown, params.guess_sigma, unknown[:20], False)
    guess, log_size, sigma = bones.guessed(shapes), 0.0, params.guess_sigma
    pairs = [row for row in seen if _tells_distance(row)]
    solved = len(pairs) >= params.least_pairs
    if solved:
        loose = fitted(views_of(pairs, mounts), guess, params.loose_sigma, params.fit)
        order = np.argsort(loose.log_size)
        share = np.cumsum(loose.log_size_sigma[order] ** -2)
        log_size, sigma = float(loose.log_size[order][np.searchsorted(share, share[-1] / 2)]), params.bone_sigma
    own_m = guess[:20] * np.exp(log_size)
    if worn is not None:
        before = bones.scale_between(guess[:20], worn.lengths_m)
        log_size = float(np.average([log_size, before], weights=[sigma**-2, params.worn_sigma**-2]))
        # Two views err alike in all takes, so that several are no surer than one.
        sigma = max((sigma**-2 + params.worn_sigma**-2) ** -0.5, params.bone_sigma)
    bones_m = guess * np.exp(log_size)
    return _Sized(bones_m, sigma, own_m if solved else bones_m[:20], solved)


def _tells_distance(row: Mapping[str, Sighting]) -> bool:
    """Whether pictures of two cameras say how far the hand is."""
    return len(row) > 1 or any(sighting.measured for sighting in row.values())


def _smoothed(
    t_ns: Stamps,
    joints: Array,
    cov: Array,
    confidence: Array,
    known: NDArray[np.bool_],
    params: HandParams,
) -> tuple[Array, Array, Array]:
    """Joints without jitter, rows of short gaps filled; covariances stay those of a moment."""
    out, out_cov, out_confidence = (np.full_like(x, np.nan) for x in (joints, cov, confidence))
    seen = np.isfinite(joints[:, 0, 0])
    for stretch in stretches(t_ns, seen & known, params.longest_gap_s):
        rows = stretch[known[stretch]]  # a picture in which the head was lost costs that picture alone
        if (t_ns[rows[-1]] - t_ns[rows[0]]) < params.shortest_s * 1e9:
            continue
        near = rows[seen[rows]]
        source = near[np.abs(t_ns[near][None, :] - t_ns[rows][:, None]).argmin(axis=1)]
        blocks = cov.reshape(-1, 21, 3, 21, 3)
        for j in range(21):
            out[rows, j], _weight = smoothed(t_ns[rows], joints[rows, j], blocks[rows, j, :, j], params.jerk_m_s3)
        out_cov[rows] = np.where(seen[rows, None, None], 1.0, 2.0) * cov[source]
        out_confidence[rows] = np.where(seen[rows], 1.0, 0.5) * confidence[source]
    return out, out_cov, out_confidence


def _joint_sigma_m(joints: Array, local_cov: Array, T_world_imu: Array, of_head: Array) -> Array:
    """(n, 21) standard deviation per axis, the head's pose included."""
    p_imu = transform(inverse(T_world_imu)[:, None], joints)
    # A head turned by δθ and moved by δp moves a point p by δp − p × δθ, in its own axes.
    lever = -np.cross(p_imu[..., None, :], np.eye(3)[None, None]).swapaxes(-1, -2)
    J = np.concatenate([lever, np.broadcast_to(np.eye(3), lever.shape)], axis=-1)
    head = np.einsum("njab,nbc,njac->nj", J, of_head, J)
    own = np.diagonal(local_cov, axis1=1, axis2=2).reshape(-1, 21, 3).sum(axis=-1)
    return np.sqrt((own + head) / 3)
