"""Devices tied together: the head sees the tags on a gripper, and from then on both move in one world.

Each device's chain is a Gaussian estimate in a world of its own, z up. What ties a gripper's world to the head's is a
turn about the vertical and a shift. Corners of tags seen by the head's cameras are one least-squares problem over both
chains' keyframes, that turn and shift, the offset between the two IMUs' clocks, what the camera's tone curve adds to
every dark square, how far each corner lies beside where it should, and all of them in one camera; the chains enter
with their whole covariance. To first order this is the graph of everything at once, as no measurement is in two of its
parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from handcap.clock import NS_PER_S, apart_ns, nanoseconds
from handcap.geometry import (
    Array,
    adjoint,
    inverse,
    se3,
    se3_exp,
    skew,
    transform,
    yaw_rotation,
)
from handcap.reconstruct.block_root import BlockRoot
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.landmarks import Observations
from handcap.reconstruct.noise import pixel_noise
from handcap.reconstruct.sightings import Corners, Sightings, TieParams, corners_of, how_many, poses_at, propose
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.reconstruct.verdict import imu_gaps
from handcap.types import Stamps


@dataclass(frozen=True, eq=False, slots=True)
class Tied:
    """Chains of all devices in the head's world.

    Attributes:
        chains: by device; of those tied.
        numbers: by device: what the tie rests on.
        unseen: devices that were not tied, and how many tags the head saw of each.
    """

    chains: Mapping[str, Chain]
    numbers: Mapping[str, Mapping[str, float]]
    unseen: Mapping[str, int]


@dataclass(frozen=True, eq=False, slots=True)
class _Linear:
    """Corners at the chains as they stand: (k, 2) residuals, measured minus predicted, and what the prediction obeys.

    Attributes:
        T_head, T_own: (k, 4, 4) poses of both IMUs.
        by_head, by_own: (k, 2, 6) derivatives by these, each in its own axes.
        by_tie: (k, 2, t) by turn about the vertical through the pivot, shift, clock, widening, every corner's shift,
            and every camera's.
    """

    residual: Array
    T_head: Array
    T_own: Array
    by_head: Array
    by_own: Array
    by_tie: Array


def tie(
    head: Chain,
    grippers: Mapping[str, Chain],
    sightings: Mapping[str, Sequence[Sightings]],
    T_imu_tcp: Mapping[str, Array],
    params: TieParams | None = None,
) -> Tied:
    """Bring all chains into the head's world.

    Args:
        head: its world is kept.
        grippers: by device, each in its own world.
        sightings: by device, one per camera of the head.
        T_imu_tcp: (4, 4) by device: tool frame on the IMU.
    """
    params = params or TieParams()
    corners: dict[str, list[Corners]] = {}
    placed: dict[str, Chain] = {}
    unseen: dict[str, int] = {}
    for device, chain in grippers.items():

        def look(reach_s: float, device: str = device, chain: Chain = chain) -> list[Corners]:
            found: list[Corners] = []
            for seen in sightings.get(device, ()):
                some = corners_of(seen, head, chain, T_imu_tcp[device], how_many(found), len(found), reach_s)
                found += [some] if len(some.t_ns) else []
            return found

        found = look(0.0)
        T = propose(head, chain, found, params)
        if T is None:
            unseen[device] = sum(len(c.t_ns) // 4 for c in found)
            continue
        placed[device], corners[device] = chain.moved(T), found if chain.tracked.all() else look(params.reach_s)
    return _solve(head, placed, corners, unseen, params)


class _Unknowns:
    """Where each unknown lies: keyframes device by device; per gripper turn, shift, clock, widening of squares, the
    shift of every corner, and that of all corners in every camera.
    """

    def __init__(self, chains: Mapping[str, Chain], corners: Mapping[str, Sequence[Corners]]) -> None:
        self.start: dict[str, int] = {}
        at = 0
        for device, chain in chains.items():
            self.start[device] = at
            at += 6 * len(chain.states)
        self.tie: dict[str, int] = {}
        self.corners = {device: how_many(found) for device, found in corners.items()}
        self.seers = {device: len(found) for device, found in corners.items()}
        self.mounts_px = {device: [c.mount_px for c in found] for device, found in corners.items()}
        for device, count in self.corners.items():
            self.tie[device] = at
            at += 6 + 2 * (count + self.seers[device])
        self.size = at


def _solve(
    head: Chain,
    grippers: Mapping[str, Chain],
    corners: Mapping[str, Sequence[Corners]],
    unseen: Mapping[str, int],
    params: TieParams,
) -> Tied:
    before = {"head": head, **grippers}
    unknowns = _Unknowns(before, corners)
    prior = _prior(before, unknowns, params)
    pivot = {d: chain.states.T_world_imu[:, :3, 3].mean(axis=0) for d, chain in grippers.items()}
    x = np.zeros(unknowns.size)
    numbers: dict[str, dict[str, float]] = {d: {} for d in grippers}
    factor: Any = np.eye(prior.size)
    now: dict[str, Chain] = dict(before)
    settled = dict.fromkeys(grippers, (np.inf, 0.0))
    used_ns: dict[str, Stamps] = {}
    for _ in range(params.rounds if grippers else 0):
        now = _corrected(before, x, unknowns, pivot)
        normal, gradient = np.zeros((unknowns.size, unknowns.size)), np.zeros(unknowns.size)
        for device, found in corners.items():
            off = _nuisances(unknowns, device, x)
            parts = [_linearised(c, now["head"], now[device], pivot[device], off) for c in found]
            kept, sigma, lasting = _gated(found, [part.residual for part in parts], params)
            used_ns[device] = np.unique(np.concatenate([c.t_ns[keep] for c, keep in zip(found, kept, strict=True)]))
            numbers[device] = {
                "tag_sightings": float(sum(k.sum() for k in kept) // 4),
                "tag_sigma_px": sigma,
                "tag_variance_factor": lasting,
            }
            weight = 1 / (sigma**2 * lasting)
            for part, keep, c in zip(parts, kept, found, strict=True):
                if not keep.any():
                    continue
                J = _stacked(unknowns, device, now, c.t_ns, off.clock_s, part)[np.repeat(keep, 2)]
                whiten = _without_slow(c, keep, 1 / weight, params)
                J, residual = whiten @ J, whiten @ part.residual[keep].ravel()
                normal += weight * (J.T @ J).toarray()
                gradient += weight * (J.T @ (residual + J @ x))
        factor = cholesky(np.eye(prior.size) + prior.around(normal), lower=True, overwrite_a=True)
        x = prior.times(cho_solve((factor, True), prior.transposed_times(gradient)))
        found_now = {d: (numbers[d]["tag_sigma_px"], numbers[d]["tag_sightings"]) for d in grippers}
        if all(sigma > 0.98 * settled[d][0] and used <= settled[d][1] for d, (sigma, used) in found_now.items()):
            break
        settled = found_now
    now = _corrected(before, x, unknowns, pivot)
    chains: dict[str, Chain] = {}
    for device, chain in now.items():
        n = len(chain.states)
        half = prior.rows(_carry(chain, device, unknowns, pivot), factor)
        own = (half.T @ half).reshape(n, 6, n, 6)
        uncertainty = PoseUncertainty(own, chain.joint.dt_step_s, chain.joint.dt_sigma_s)
        chains[device] = _regained(replace(chain, joint=uncertainty), used_ns.get(device), params)
        if device in numbers:
            off = _nuisances(unknowns, device, x)
            numbers[device] |= {"clock_ms": 1e3 * off.clock_s, "edge_px": off.edge_px}
    return Tied(chains, numbers, unseen)


def _regained(chain: Chain, seen_ns: Stamps | None, params: TieParams) -> Chain:
    """With pictures tracked near which its tags were seen, though its own camera lost itself."""
    if seen_ns is None or not len(seen_ns) or chain.tracked.all():
        return chain
    t_ns = chain.t_ns
    near = chain.reaches(t_ns, params.reach_s) & (apart_ns(t_ns, seen_ns) <= params.bridge_s * NS_PER_S / 2)
    return replace(chain, tracked=chain.tracked | (near & ~imu_gaps(t_ns, chain.imu, params.bridge_s)))


@dataclass(frozen=True, eq=False, slots=True)
class _Nuisances:
    """What is off beside the poses: (c, 2) px by corner, (v, 2) px by camera."""

    clock_s: float
    edge_px: float
    corner_px: Array
    camera_px: Array


def _nuisances(unknowns: _Unknowns, device: str, x: Array) -> _Nuisances:
    at, count = unknowns.tie[device], unknowns.corners[device]
    shifts = x[at + 6 : at + 6 + 2 * (count + unknowns.seers[device])].reshape(-1, 2)
    return _Nuisances(float(x[at + 4]), float(x[at + 5]), shifts[:count], shifts[count:])


def _prior(chains: Mapping[str, Chain], unknowns: _Unknowns, params: TieParams) -> BlockRoot:
    """What is known beforehand: a block for each chain and each tie."""
    blocks: list[tuple[int, Array]] = []
    for device, chain in chains.items():
        size = 6 * len(chain.states)
        values, axes = np.linalg.eigh(chain.joint.cov.reshape(size, size))
        keep = values > 1e-12 * max(float(values[-1]), 1e-12)
        blocks.append((unknowns.start[device], axes[:, keep] * np.sqrt(values[keep])))
    loose = [np.pi, 10.0, 10.0, 10.0, params.clock_sigma_s, params.edge_sigma_px]
    for device, at in unknowns.tie.items():
        shifts = [params.shift_sigma_px] * (2 * unknowns.corners[device])
        asides = np.repeat(np.hypot(params.aside_sigma_px, unknowns.mounts_px[device]), 2)
        blocks.append((at, np.diag([*loose, *shifts, *asides])))
    return BlockRoot(blocks)


def _corrected(
    before: Mapping[str, Chain], x: Array, unknowns: _Unknowns, pivot: Mapping[str, Array]
) -> dict[str, Chain]:
    """Chains with the unknowns put in; velocities turn with their poses."""
    out: dict[str, Chain] = {}
    for device, chain in before.items():
        n, a = len(chain.states), unknowns.start[device]
        states = chain.states
        T = states.T_world_imu @ se3_exp(x[a : a + 6 * n].reshape(n, 6))
        turn = T[:, :3, :3] @ np.swapaxes(states.T_world_imu[:, :3, :3], 1, 2)
        v = np.einsum("nij,nj->ni", turn, states.velocity_world)
        chain = replace(chain, states=replace(states, T_world_imu=T, velocity_world=v))
        if device in unknowns.tie:
            yaw, *shift = x[unknowns.tie[device] : unknowns.tie[device] + 4]
            R, p = yaw_rotation(float(yaw)), pivot[device]
            chain = chain.moved(se3(R, p - R @ p + np.array(shift)))
        out[device] = chain
    return out


def _linearised(c: Corners, head: Chain, gripper: Chain, pivot: Array, off: _Nuisances) -> _Linear:
    own_t_ns, step_ns, count = c.t_ns + nanoseconds(off.clock_s), 1_000_000, len(c.t_ns)
    T_head = poses_at(head, c.t_ns)
    T_own, later, earlier = poses_at(
        gripper, np.concatenate([own_t_ns, own_t_ns + step_ns, own_t_ns - step_ns])
    ).reshape(3, count, 4, 4)
    p_world = np.einsum("kij,kj->ki", T_own[:, :3, :3], c.p_imu) + T_own[:, :3, 3]
    p_head = np.einsum("kji,kj->ki", T_head[:, :3, :3], p_world - T_head[:, :3, 3])
    T_cam_imu = inverse(c.T_imu_cam)
    p_cam = transform(T_cam_imu, p_head)
    px, valid = c.camera.project(p_cam)
    by_p_head = c.camera.derivative(p_cam) @ T_cam_imu[:3, :3]
    by_p_world = by_p_head @ np.swapaxes(T_head[:, :3, :3], 1, 2)
    by_p_own = by_p_world @ T_own[:, :3, :3]
    turn = np.cross([0.0, 0.0, 1.0], p_world - pivot)
    moving = np.einsum("kij,kj->ki", (later - earlier)[:, :3], np.c_[c.p_imu, np.ones(count)]) / (2e-9 * step_ns)
    by_shift = np.tile(np.eye(3), (count, 1, 1))
    by_world = by_p_world @ np.concatenate([turn[..., None], by_shift, moving[..., None]], axis=2)
    widening = _widening(px)
    corners, cameras = len(off.corner_px), len(off.camera_px)
    by_place = np.zeros((count, 2, 2 * (corners + cameras)))
    for axis in range(2):
        by_place[np.arange(count), axis, 2 * c.number + axis] = 1.0
        by_place[:, axis, 2 * (corners + c.seer) + axis] = 1.0
    expected = px + off.edge_px * widening + off.corner_px[c.number] + off.camera_px[c.seer]
    return _Linear(
        np.where(valid[:, None], c.px - expected, 1e3),
        T_head,
        T_own,
        np.concatenate([by_p_head @ skew(p_head), -by_p_head], axis=2),
        np.concatenate([-by_p_own @ skew(c.p_imu), by_p_own], axis=2),
        np.concatenate([by_world, widening[..., None], by_place], axis=2),
    )


def _widening(px: Array) -> Array:
    """(k, 2) how corners of squares, four by four, move when every edge moves out by one pixel."""
    square = px.reshape(-1, 4, 2)
    along = np.roll(square, -1, axis=1) - square
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    before = np.roll(along, 1, axis=1)
    # Lines along u and v, each a pixel to its outside, meet at (u - v) / |u × v|.
    across = np.abs(before[..., 0] * along[..., 1] - before[..., 1] * along[..., 0])
    return ((before - along) / np.maximum(across, 0.1)[..., None]).reshape(-1, 2)


def _gated(
    found: Sequence[Corners], residuals: Sequence[Array], params: TieParams
) -> tuple[list[NDArray[np.bool_]], float, float]:
    """Which corners to use, their sigma in px, and how much lasting errors enlarge their variance."""
    off = np.concatenate([np.linalg.norm(r, axis=1) for r in residuals])
    sigma = max(float(np.median(off)) / 1.1774, 0.1)  # of one coordinate of a normal pair
    out: list[NDArray[np.bool_]] = []
    factors: list[float] = []
    for c, r in zip(found, residuals, strict=True):
        good = np.linalg.norm(r, axis=1) < params.gate_sigmas * sigma * 1.4
        keep = np.repeat(good.reshape(-1, 4).all(axis=1), 4)
        out.append(keep)
        order = np.lexsort((c.sighting[keep], c.number[keep]))
        seen = Observations(
            c.sighting[keep][order],
            c.number[keep][order],
            c.px[keep][order],
            np.zeros((keep.sum(), 3)),
            c.px[keep],
            np.zeros(keep.sum(), np.int64),
        )
        factors.append(pixel_noise(seen, r[keep][order]).variance_factor)
    return out, sigma, max(factors)


def _without_slow(c: Corners, keep: NDArray[np.bool_], variance: float, params: TieParams) -> Any:
    """Sparse (2 k, 2 k) that makes errors of variance s² each and b² in common within a corner's second independent.

    The inverse root of s² I + b² 1 1ᵀ is (I - a 1 1ᵀ / n) / s with a = 1 - (1 + n b² / s²)^(-1/2).
    """
    name = np.stack([c.number[keep], (c.t_ns[keep] - c.t_ns.min()) // nanoseconds(params.slow_s)], axis=1)
    _, group, count = np.unique(name, axis=0, return_inverse=True, return_counts=True)
    rows = np.arange(2 * len(group))
    member = sparse.csr_matrix((np.ones(len(rows)), (rows, 2 * np.repeat(group.ravel(), 2) + rows % 2)))
    share = (1 - 1 / np.sqrt(1 + count * params.slow_sigma_px**2 / variance)) / count
    return sparse.identity(len(rows), format="csr") - member @ sparse.diags(np.repeat(share, 2)) @ member.T


def _stacked(
    unknowns: _Unknowns, device: str, now: Mapping[str, Chain], t_ns: Stamps, clock_s: float, at: _Linear
) -> Any:
    """Sparse (2 k, size) derivatives of corners at (k,) times by all unknowns."""
    blocks: list[tuple[NDArray[np.int64], Array]] = []  # first column (k,), values (k, 2, c)
    own_t_ns = t_ns + nanoseconds(clock_s)
    for name, J, T, at_ns in (("head", at.by_head, at.T_head, t_ns), (device, at.by_own, at.T_own, own_t_ns)):
        states = now[name].states
        i = np.clip(np.searchsorted(states.t_ns, at_ns, side="right") - 1, 0, len(states) - 2)
        s = ((at_ns - states.t_ns[i]) / (states.t_ns[i + 1] - states.t_ns[i]))[:, None, None]
        to_body = inverse(T)
        for share, index in ((1 - s, i), (s, i + 1)):
            carried = J @ (share * adjoint(to_body @ states.T_world_imu[index]))
            blocks.append((unknowns.start[name] + 6 * index, carried))
    blocks.append((np.full(len(t_ns), unknowns.tie[device]), at.by_tie))
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    values: list[Array] = []
    for first, J in blocks:
        row = 2 * np.arange(len(t_ns))[:, None, None] + np.arange(2)[:, None]
        rows.append(np.broadcast_to(row, J.shape).ravel())
        columns.append(np.broadcast_to(first[:, None, None] + np.arange(J.shape[2]), J.shape).ravel())
        values.append(J.ravel())
    shape = (2 * len(t_ns), unknowns.size)
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def _carry(chain: Chain, device: str, unknowns: _Unknowns, pivot: Mapping[str, Array]) -> dict[int, Array]:
    """From unknowns, by the first of them, to the errors of a device's keyframes in the head's world, in which a
    gripper's own world errs too.
    """
    states = chain.states
    out = {unknowns.start[device]: np.eye(6 * len(states))}
    if device in unknowns.tie:
        about = se3(np.eye(3), pivot[device])
        A = adjoint(inverse(states.T_world_imu) @ about)  # a turn about the pivot, in the body's axes
        out[unknowns.tie[device]] = A[:, :, 2:].reshape(-1, 4)
    return out
