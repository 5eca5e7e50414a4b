"""The hand that explains one moment best: the network's shape, turned, moved and sized, every joint a little beside it.

Joint j is y_j(z) + δ_j with y_j(z) = t + R e^λ s_j, s the network's shape at the wearer's size and δ_j ~ N(0, d²). Rays
from all views see the joints; how far the skin before the palm is may be measured too. The δ are eliminated in closed
form, so that Gauss-Newton works on the seven numbers z of R, t, λ: what both views see beside the shape still counts as
one joint, and its disparity as depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.geometry import Array, skew, so3_exp, so3_log
from handcap.reconstruct.hands.bones import lengths_m
from handcap.reconstruct.hands.flesh import RADIUS_M, depth_m

PALM = [0, 1, 2, 5, 9, 13, 17]  # joints whose own skin is what is seen before them; fingers hide behind others


@dataclass(frozen=True, slots=True)
class FitParams:
    """How far each part is believed; standard deviations."""

    ray_rad: float = 0.006  # of a landmark, what two views do not share: 1.6 px at 265 px focal length
    joint_m: float = 0.015  # of a joint beside the network's shape
    turn_rad: float = 0.35  # of the network's shape against the picture it was seen in
    robust: float = 3.0  # ray sigmas at which a ray counts half
    skin_m: float = 0.012  # of a joint under its skin; what a palm's seven share leaves 5 mm of it
    most_under: float = 1.7  # radii of its ball; deeper, a joint lies behind other parts of the hand
    skin_robust: float = 2.0  # skin sigmas at which a distance counts half
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
    p, count = params, views.seen.sum(axis=1)
    sized = np.where(views.seen[..., None, None], at_size(views.relative_m, bones_m), 0.0)
    shape = sized.sum(axis=1) / count[:, None, None]
    across = np.where(
        views.seen[..., None, None, None], np.eye(3) - views.rays[..., :, None] * views.rays[..., None, :], 0.0
    )
    n = len(shape)
    R, log_size = np.tile(np.eye(3), (n, 1, 1)), np.zeros(n)
    skin = _Skin(views, p)
    t = skin.at_distance(_start(across, views.origin, shape), shape)
    weight = np.ones(across.shape[:3])
    # What the network is unsure of, it places and shapes badly.
    trust = np.where(views.seen, views.trust, 0.0).max(axis=1)[:, None, None, None]
    apart = np.eye(3) * trust / p.joint_m**2
    loose = np.zeros((n, 7, 7))
    loose[:, np.arange(6), np.arange(6)] = np.r_[[p.turn_rad**-2] * 3, [1e-4] * 3]
    loose[:, 6, 6] = np.asarray(bone_sigma) ** -2.0
    x = shape + t[:, None]
    H = inner = B = miss = np.zeros(0)  # of the last step
    for _ in range(p.steps):
        far = np.linalg.norm(x[:, None] - views.origin[:, None], axis=-1)
        info = weight * views.trust[..., None] / (np.maximum(far, 0.05) * p.ray_rad) ** 2
        under, under_at = skin.pull(x)
        A = np.einsum("nvj,nvjab->njab", info, across) + under
        b = np.einsum("nvj,nvjab,vb->nja", info, across, views.origin) + under_at
        inner = np.linalg.inv(A + apart)
        y = np.exp(log_size)[:, None, None] * shape @ np.swapaxes(R, 1, 2)
        B = np.concatenate([-skew(y), np.broadcast_to(np.eye(3), (n, 21, 3, 3)), y[..., None]], axis=-1)
        outer = (np.eye(3) - A @ inner) @ A
        pull = np.einsum("njab,njb->nja", np.eye(3) - A @ inner, b) - np.einsum("njab,njb->nja", outer, y + t[:, None])
        H = np.einsum("njab,njax,njby->nxy", outer, B, B) + loose
        prior = np.concatenate([so3_log(R), np.zeros((n, 3)), log_size[:, None]], axis=1)
        gradient = np.einsum("njax,nja->nx", B, pull) - np.einsum("nxy,ny->nx", loose, prior)
        step = np.linalg.solve(H, gradient[..., None])[..., 0]
        step = np.clip(step, -0.3, 0.3)
        R, t, log_size = so3_exp(step[:, :3]) @ R, t + step[:, 3:6], log_size + step[:, 6]
        y = np.exp(log_size)[:, None, None] * shape @ np.swapaxes(R, 1, 2) + t[:, None]
        x = np.einsum("njab,njb->nja", inner, b + y * apart[..., 0, :1])
        d = x[:, None] - views.origin[:, None]
        miss = np.linalg.norm(np.einsum("nvjab,nvjb->nvja", across, d), axis=-1)
        miss = miss / np.maximum(np.linalg.norm(d, axis=-1), 0.05) / p.ray_rad
        weight = 1 / (1 + (miss / p.robust) ** 2)
        if np.abs(step).max() < 1e-5:
            break
    spread = np.linalg.inv(H)
    C = np.einsum("njab,njbx->njax", inner, B).reshape(n, 63, 7) * apart[:, 0, :1, :1]
    cov = C @ spread @ np.swapaxes(C, 1, 2)
    j = np.arange(21)
    cov.reshape(n, 21, 3, 21, 3)[:, j, :, j, :] += np.swapaxes(inner, 0, 1)
    cost = np.where(views.seen[..., None], miss**2, 0.0).sum(axis=(1, 2)) / (21 * count)
    return Fitted(x, cov, cost, log_size, np.sqrt(spread[:, 6, 6]))


class _Skin:
    """Joints of the palm lie as deep behind the skin that is seen before them as the hand itself makes them lie."""

    def __init__(self, views: Views, params: FitParams) -> None:
        self._views, self._params = views, params
        self._rays = views.rays[:, :, PALM]
        self._radius_m = RADIUS_M[PALM]

    def at_distance(self, middle: Array, shape: Array) -> Array:
        """(n, 3) middles moved along where the hand is seen, to where most of the skin says."""
        off, own = self._off(shape + middle[:, None])
        off = np.where(own, off, np.nan).reshape(len(middle), -1)
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
        p, rays = self._params, self._rays
        info = self._views.trust[..., None] / p.skin_m**2 / (1 + (off / p.skin_m / p.skin_robust) ** 2)
        info = np.where(own, info, 0.0)
        A, b = np.zeros((len(x), 21, 3, 3)), np.zeros((len(x), 21, 3))
        A[:, PALM] = np.einsum("nvj,nvja,nvjb->njab", info, rays, rays)
        wanted = np.einsum("nvja,nja->nvj", rays, x[:, PALM]) + np.where(own, off, 0.0)
        b[:, PALM] = np.einsum("nvj,nvja->nja", info * wanted, rays)
        return A, b

    def _off(self, x: Array) -> tuple[Array, NDArray[np.bool_]]:
        """(n, v, 7) m by which the palm's joints are too near, and whether it is known by their own skin."""
        views = self._views
        under = depth_m(x[:, None], views.origin[None], views.rays)[:, :, PALM]
        far = np.einsum("nvja,nvja->nvj", self._rays, x[:, None, PALM] - views.origin[None, :, None])
        off = views.skin_m[:, :, PALM] + under - far
        return off, np.isfinite(off) & (under < self._params.most_under * self._radius_m)


def _start(across: Array, origin: Array, shape: Array) -> Array:
    """(n, 3) middles: the least-squares place of the unturned shape on the rays."""
    normal = across.sum(axis=(1, 2)) + 1e-9 * np.eye(3)
    right = np.einsum("nvjab,vb->na", across, origin) - np.einsum("nvjab,njb->na", across, shape)
    return np.linalg.solve(normal, right[..., None])[..., 0]
