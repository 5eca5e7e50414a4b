"""What a lens's parameters being off means in pixels, and where in the picture.

A turn of the whole camera is not counted: whoever uses the lens measures how the camera sits with this very lens, and
takes such a turn up. The turn that leaves the least difference over the area in question is taken out (as mrcal does).
"""

from __future__ import annotations

import numpy as np

from handcap.cameras import Camera
from handcap.geometry import Array, skew, so3_exp


def grid_px(width: int, height: int, columns: int, rows: int) -> Array:
    """(rows, columns, 2) middles of the cells into which a picture is divided."""
    u = (np.arange(columns) + 0.5) * width / columns - 0.5
    v = (np.arange(rows) + 0.5) * height / rows - 0.5
    return np.stack(np.meshgrid(u, v), axis=-1)


def expected_error_px(lens: Camera, cov: Array, at_px: Array, over_px: Array) -> Array:
    """Standard deviation, per axis, of where a ray is shown, to first order.

    Args:
        lens: it.
        cov: (p, p) of its parameters.
        at_px: (n, 2) where it is asked for.
        over_px: (m, 2) the area over which the camera's turn is fitted.

    Returns:
        (n,) px; NaN where the lens model cannot be inverted.
    """
    over, known = lens.unproject(over_px)
    by_params, by_turn = _derivatives(lens, over[known])
    # The turn that meets a change of parameters best, in least squares over the area.
    flat = by_turn.reshape(-1, 3)
    turn = -np.linalg.lstsq(flat, by_params.reshape(len(flat), -1), rcond=None)[0]
    at, valid = lens.unproject(at_px)
    here_params, here_turn = _derivatives(lens, at)
    total = here_params + here_turn @ turn
    variance = np.einsum("nij,jk,nik->n", total, cov, total, optimize=True)
    return np.where(valid, np.sqrt(np.maximum(variance, 0) / 2), np.nan)


def _derivatives(lens: Camera, rays: Array) -> tuple[Array, Array]:
    """(n, 2, p) and (n, 2, 3) of the pixel by the parameters and by a small turn of the rays."""
    return lens.derivative_by_params(rays), -lens.derivative(rays) @ skew(rays)


def difference_px(lens: Camera, other: Camera, at_px: Array, over_px: Array) -> Array:
    """(n, 2) how far apart two lenses show the rays that the first shows at `at_px` (n, 2), camera's turn taken out.

    Args:
        lens, other: both.
        at_px: where it is asked for.
        over_px: (m, 2) the area over which the turn is fitted.

    Returns:
        (n, 2) px, NaN where one of the models does not hold.
    """
    over, known = lens.unproject(over_px)
    over, goal = over[known], over_px[known]
    R = np.eye(3)
    for _ in range(10):
        turned = over @ R.T
        px, valid = other.project(turned)
        by_turn = -other.derivative(turned) @ skew(turned)
        step = np.linalg.lstsq(by_turn[valid].reshape(-1, 3), (goal - px)[valid].ravel(), rcond=None)[0]
        R = so3_exp(step) @ R
        if np.linalg.norm(step) < 1e-10:
            break
    rays, known_here = lens.unproject(at_px)
    px, valid = other.project(rays @ R.T)
    return np.where((known_here & valid)[:, None], px - at_px, np.nan)
