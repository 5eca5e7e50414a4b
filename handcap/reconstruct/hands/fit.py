"""The hand that explains one moment best: the network's shape, turned, moved and sized, every joint a little beside it,
every bone about as long as the wearer's.

Joint j is x_j = t + R e^λ s_j + δ_j, s the network's shape at the wearer's size and δ_j ~ N(0, d²). Rays from all views
see the joints; how far the skin before them is may be measured too. What the network does not see it shapes freely, a
finger short in one picture and long in the next; bones stay as long as they are, so their lengths |x_a − x_b| = e^λ l
are measurements as well, l from all pictures of the take. Gauss-Newton on the joints and the seven numbers of R, t, λ
at once: what both views see beside the shape counts as one joint, and its disparity as depth.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array, skew, so3_exp, so3_log
from handcap.reconstruct.hands.bones import BONES, lengths_m
from handcap.reconstruct.hands.flesh import RADIUS_M, depth_m

PALM = [0, 1, 2, 5, 9, 13, 17]  # joints whose own skin is mostly what is seen before them; fingers hide
_FINGER_BONES, _HELD_BONES = 15, 24  # of `BONES`; the thumb's root comes nearer to the fingers' and goes away
_ENDS: Array = np.eye(21)[BONES[:_HELD_BONES, 1]] - np.eye(21)[BONES[:_HELD_BONES, 0]]  # (24, 21): bone = ends @ joints
_MOST_STEP_M, _MOST_TURN = 0.05, 0.3
_AT_ONCE = 256  # moments: each has matrices of 70 by 70


@dataclass(frozen=True, slots=True)
class FitParams:
    """How far each part is believed; standard deviations."""

    ray_rad: float = 0.007  # of a landmark, what two views do not share: 1.9 px at 265 px focal length
    joint_m: float = 0.015  # of a joint beside the network's shape
    finger_m: float = 0.004  # of a finger's bone
    palm_m: float = 0.008  # of the palm from joint to joint
    turn_rad: float = 0.35  # of the network's shape against the picture it was seen in
    robust: float = 2.0  # ray sigmas at which a ray counts half
    skin_m: float = 0.006  # of a joint of the palm under its skin
    finger_skin_m: float = 0.012  # of a finger's
    most_under: float = 1.7  # radii of its ball; deeper, a joint lies behind other parts of the hand
    finger_under: float = 1.3
    skin_robust: float = 2.0  # skin sigmas at which a distance counts half, that of a finger a quarter
    in_the_way: float = 0.25  # share that skin before a finger counts: it may be another's, skin behind it may not
    steps: int = 12


@dataclass(frozen=True, eq=False, slots=True)
class Views:
    """What n moments show, each in up to v views, in one frame per moment.

    Attributes:
        origin: (v, 3) of each view.
        rays: (n, v, 21, 3) unit; anything where not seen.
        relative_m: (n, v, 21, 3) the network's shapes.
        seen: (n, v).
        skin_m: (n, v, 21) along the rays, NaN where not known.
        trust: (n, v) 0..1, share of its usual information that a view has.
    """

    origin: Array
    rays: Array
    relative_m: Array
    seen: NDArray[np.bool_]
    skin_m: Array
    trust: Array

    def part(self, rows: slice) -> Views:
        """Some of the moments."""
        return Views(
            self.origin, self.rays[rows], self.relative_m[rows], self.seen[rows], self.skin_m[rows], self.trust[rows]
        )


@dataclass(frozen=True, eq=False, slots=True)
class Fitted:
    """Hands of n moments.

    Attributes:
        joints: (n, 21, 3) m.
        cov: (n, 63, 63) m².
        cost: (n,) mean squared ray miss in sigmas.
        log_size: (n,) λ, how much larger than the bones said.
        log_size_sigma: (n,).
    """

    joints: Array
    cov: Array
    cost: Array
    log_size: Array
    log_size_sigma: Array


def at_size(relative_m: Array, bones_m: Array) -> Array:
    """(..., 21, 3) shapes about their middles, grown to bones of these lengths."""
    shape = relative_m - relative_m.mean(axis=-2, keepdims=True)
    grow = np.median(bones_m / np.maximum(lengths_m(shape), 1e-6), axis=-1)
    return shape * grow[..., None, None]


def fitted(views: Views, bones_m: Array, bone_sigma: Array | float, params: FitParams) -> Fitted:
    """Joints of each moment, by itself.

    Args:
        views: every moment has at least one.
        bones_m: (26,) the wearer's lengths.
        bone_sigma: of their common scale, relative; one for all moments, or (n,).
    """
    sigma = np.broadcast_to(bone_sigma, len(views.seen))
    some = [slice(begin, begin + _AT_ONCE) for begin in range(0, len(sigma), _AT_ONCE)]
    parts = [_fitted(views.part(rows), bones_m, sigma[rows], params) for rows in some]
    return Fitted(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Fitted)))


def _fitted(views: Views, bones_m: Array, bone_sigma: Array, params: FitParams) -> Fitted:
    p, count, n = params, views.seen.sum(axis=1), len(views.seen)
    sized = np.where(views.seen[..., None, None], at_size(views.relative_m, bones_m), 0.0)
    shape = sized.sum(axis=1) / count[:, None, None]
    across = np.where(
        views.seen[..., None, None, None], np.eye(3) - views.rays[..., :, None] * views.rays[..., None, :], 0.0
    )
    skin = _Skin(views, p)
    R, log_size = np.tile(np.eye(3), (n, 1, 1)), np.zeros(n)
    t = skin.at_distance(_start(across, views.origin, shape), shape)
    x = shape + t[:, None]
    # What the network is unsure of, it places and shapes badly.
    beside = np.where(views.seen, views.trust, 0.0).max(axis=1) / p.joint_m**2
    loose = np.zeros((n, 7))
    loose[:] = np.r_[[p.turn_rad**-2] * 3, [1e-4] * 3, 0.0]
    loose[:, 6] = bone_sigma**-2.0
    weight, miss, H = np.ones(across.shape[:3]), np.zeros(across.shape[:3]), np.zeros((n, 70, 70))
    for _ in range(p.steps):
        far = np.maximum(np.linalg.norm(x[:, None] - views.origin[:, None], axis=-1), 0.05)
        info = weight * views.trust[..., None] / (far * p.ray_rad) ** 2
        under, under_at = skin.pull(x)
        A = np.einsum("nvj,nvjab->njab", info, across) + under
        seen_at = np.einsum("nvj,nvjab,vb->nja", info, across, views.origin) + under_at
        H, pull = _shape_terms(x, shape, R, t, log_size, beside, loose)
        joints = H[:, :63, :63].reshape(n, 21, 3, 21, 3)
        joints[:, np.arange(21), :, np.arange(21)] += np.swapaxes(A, 0, 1)
        pull[:, :63] += (seen_at - np.einsum("njab,njb->nja", A, x)).reshape(n, 63)
        _add_bones(H, pull, x, log_size, bones_m, p)
        step = np.linalg.solve(H, pull[..., None])[..., 0]
        share = np.minimum(1, _MOST_STEP_M / np.maximum(np.abs(step[:, :63]).max(axis=1), 1e-9))
        step = share[:, None] * step
        step[:, 63:] = np.clip(step[:, 63:], -_MOST_TURN, _MOST_TURN)
        x = x + step[:, :63].reshape(n, 21, 3)
        R, t, log_size = so3_exp(step[:, 63:66]) @ R, t + step[:, 66:69], log_size + step[:, 69]
        d = x[:, None] - views.origin[:, None]
        miss = np.linalg.norm(np.einsum("nvjab,nvjb->nvja", across, d), axis=-1)
        miss = miss / np.maximum(np.linalg.norm(d, axis=-1), 0.05) / p.ray_rad
        weight = 1 / (1 + (miss / p.robust) ** 2)
        if np.abs(step).max() < 1e-5:
            break
    cov = np.asarray(np.linalg.inv(H), float)
    cost = np.where(views.seen[..., None], miss**2, 0.0).sum(axis=(1, 2)) / (21 * count)
    return Fitted(x, cov[:, :63, :63], cost, log_size, np.sqrt(cov[:, 69, 69]))


def _shape_terms(
    x: Array, shape: Array, R: Array, t: Array, log_size: Array, beside: Array, loose: Array
) -> tuple[Array, Array]:
    """Normal matrix (n, 70, 70) and pull (n, 70) of joints beside the turned, moved and sized shape."""
    n = len(x)
    y = np.exp(log_size)[:, None, None] * shape @ np.swapaxes(R, 1, 2)
    B = np.concatenate([-skew(y), np.broadcast_to(np.eye(3), (n, 21, 3, 3)), y[..., None]], axis=-1).reshape(n, 63, 7)
    J = np.concatenate([np.broadcast_to(np.eye(63), (n, 63, 63)), -B], axis=-1)
    J_info = np.swapaxes(J, 1, 2) * beside[:, None, None]
    H, pull = J_info @ J, (J_info @ (y + t[:, None] - x).reshape(n, 63, 1))[..., 0]
    H[:, np.arange(63, 70), np.arange(63, 70)] += loose
    pull[:, 63:66] -= loose[:, :3] * so3_log(R)
    pull[:, 69] -= loose[:, 6] * log_size
    return H, pull


def _add_bones(H: Array, pull: Array, x: Array, log_size: Array, bones_m: Array, params: FitParams) -> None:
    """Adds what the lengths of bones say."""
    bone = _ENDS @ x
    length = np.linalg.norm(bone, axis=-1)
    wanted = np.exp(log_size)[:, None] * bones_m[:_HELD_BONES]
    along = bone / np.maximum(length, 1e-6)[..., None]
    J = np.zeros((len(x), _HELD_BONES, 70))
    J[..., :63] = (_ENDS[None, :, :, None] * along[:, :, None, :]).reshape(len(x), _HELD_BONES, 63)
    J[..., 69] = -wanted
    sigma = np.where(np.arange(_HELD_BONES) < _FINGER_BONES, params.finger_m, params.palm_m)
    J_info = np.swapaxes(J, 1, 2) / sigma**2
    H += J_info @ J
    pull += (J_info @ (wanted - length)[..., None])[..., 0]


class _Skin:
    """Joints lie as deep behind the skin that is seen before them as the hand itself makes them lie."""

    def __init__(self, views: Views, params: FitParams) -> None:
        self._views, p = views, params
        self._palm = np.isin(np.arange(21), PALM)
        self._sigma_m = np.where(self._palm, p.skin_m, p.finger_skin_m)
        self._most_under_m = np.where(self._palm, p.most_under, p.finger_under) * RADIUS_M[:21]
        self._robust, self._in_the_way = p.skin_robust, p.in_the_way

    def at_distance(self, middle: Array, shape: Array) -> Array:
        """(n, 3) middles moved along where the hand is seen, to where most of the palm's skin says."""
        off, own = self._off(shape + middle[:, None])
        off = np.where(own, off, np.nan)[..., PALM].reshape(len(middle), -1)
        told = np.isfinite(off).any(axis=1)
        seen = self._views.seen / self._views.seen.sum(axis=1, keepdims=True)
        towards = middle - seen @ self._views.origin
        towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
        out = middle.copy()
        out[told] += np.nanmedian(off[told], axis=1)[:, None] * towards[told]
        return out

    def pull(self, x: Array) -> tuple[Array, Array]:
        """Information (n, 21, 3, 3) about joints near (n, 21, 3), and (n, 21, 3) the same times where they would be."""
        off, own = self._off(x)
        rays = self._views.rays
        near = 1 / (1 + (off / self._sigma_m / self._robust) ** 2)
        believed = np.where(self._palm, near, near**2 * np.where(off < 0, self._in_the_way, 1.0))
        info = np.where(own, self._views.trust[..., None] * believed / self._sigma_m**2, 0.0)
        wanted = np.einsum("nvja,nja->nvj", rays, x) + np.where(own, off, 0.0)
        return (
            np.einsum("nvj,nvja,nvjb->njab", info, rays, rays),
            np.einsum("nvj,nvja->nja", info * wanted, rays),
        )

    def _off(self, x: Array) -> tuple[Array, NDArray[np.bool_]]:
        """(n, v, 21) m by which joints are too near, and whether it is known by their own skin."""
        views = self._views
        under = depth_m(x[:, None], views.origin[None], views.rays)
        far = np.einsum("nvja,nvja->nvj", views.rays, x[:, None] - views.origin[None, :, None])
        off = views.skin_m + under - far
        return off, np.isfinite(off) & (under < self._most_under_m)


def _start(across: Array, origin: Array, shape: Array) -> Array:
    """(n, 3) middles: the least-squares place of the unturned shape on the rays."""
    normal = across.sum(axis=(1, 2)) + 1e-9 * np.eye(3)
    right = np.einsum("nvjab,vb->na", across, origin) - np.einsum("nvjab,njb->na", across, shape)
    return np.linalg.solve(normal, right[..., None])[..., 0]
