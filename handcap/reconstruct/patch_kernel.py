# pyright: basic
"""The compiled inner loops of patch alignment."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _grey(picture, x, y):
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    above = (1 - fx) * picture[y0, x0] + fx * picture[y0, x0 + 1]
    return (1 - fy) * above + fy * ((1 - fx) * picture[y0 + 1, x0] + fx * picture[y0 + 1, x0 + 1])


@njit(cache=True, nogil=True, error_model="numpy")
def sample(picture, px, out):
    """Square patches around points, one pixel apart.

    Args:
        picture: (h, w) float32.
        px: (m, 2) their middles.
        out: (m, s, s) float32, changed in place; NaN throughout for one that does not lie in the picture.
    """
    reach = out.shape[1] // 2
    height, width = picture.shape
    for k in range(len(px)):
        x, y = px[k, 0], px[k, 1]
        if not (reach <= x < width - reach - 1 and reach <= y < height - reach - 1):
            out[k] = np.nan
            continue
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                out[k, j, i] = _grey(picture, x + i - reach, y + j - reach)


@njit(cache=True, nogil=True, error_model="numpy")
def _steepest(patch, weight, damping, slope, H):
    """What a patch's pixels change by with its eight parameters, and the normal matrix of these.

    Args:
        slope: (s², 8) and H: (8, 8), changed in place: bend (2) and shift along x, the same along y, contrast,
            brightness.

    Returns:
        Its contrast, grey levels.
    """
    side = len(weight)
    reach = side // 2
    total = weight.sum()
    mean = 0.0
    for j in range(side):
        for i in range(side):
            mean += weight[j, i] * patch[j + 1, i + 1]
    mean /= total
    H[:] = 0.0
    contrast = 0.0
    for j in range(side):
        for i in range(side):
            k, x, y = j * side + i, i - reach, j - reach
            gx = (patch[j + 1, i + 2] - patch[j + 1, i]) / 2
            gy = (patch[j + 2, i + 1] - patch[j, i + 1]) / 2
            slope[k, 0], slope[k, 1], slope[k, 2] = gx * x, gx * y, gx
            slope[k, 3], slope[k, 4], slope[k, 5] = gy * x, gy * y, gy
            slope[k, 6], slope[k, 7] = patch[j + 1, i + 1] - mean, 1.0
            contrast += weight[j, i] * slope[k, 6] ** 2
            for a in range(8):
                for b in range(a + 1):
                    H[a, b] += weight[j, i] * slope[k, a] * slope[k, b]
    for a in range(8):
        for b in range(a):
            H[b, a] = H[a, b]
    for a in (0, 1, 3, 4):
        H[a, a] += damping * total
    for a in range(8):
        H[a, a] *= 1 + 1e-6
    return np.sqrt(contrast / total)


@njit(cache=True, nogil=True, error_model="numpy")
def _off(picture, patch, weight, slope, bend, at, gain, offset, g):
    """How far a laid patch is from the picture, grey levels, weighted; infinite where it reaches beyond. `g` (8,), the
    residual along every parameter, is changed in place.
    """
    side = len(weight)
    reach = side // 2
    height, width = picture.shape
    g[:] = 0.0
    power = 0.0
    for j in range(side):
        for i in range(side):
            x, y = i - reach, j - reach
            u, v = bend[0, 0] * x + bend[0, 1] * y + at[0], bend[1, 0] * x + bend[1, 1] * y + at[1]
            if not (0 <= u < width - 1 and 0 <= v < height - 1):
                return np.inf
            k = j * side + i
            r = _grey(picture, u, v) - patch[j + 1, i + 1] - gain * slope[k, 6] - offset
            power += weight[j, i] * r * r
            for a in range(8):
                g[a] += weight[j, i] * slope[k, a] * r
    return np.sqrt(power / weight.sum())


@njit(cache=True, nogil=True, error_model="numpy")
def align(picture, patches, which, weight, bend, px, iterations, damping, settled_px, least_contrast, left):
    """Lay patches on a picture: position, affine bend, contrast and brightness by least squares.

    The inverse compositional scheme of Baker and Matthews (IJCV 56(3), 2004) with Gruen's parameters (1985).

    Args:
        picture: (h, w) float32.
        patches: (p, s, s) float32; their outermost ring serves for the slope only.
        which: (m,) the patch of each observation.
        weight: (s - 2, s - 2) of its pixels.
        bend: (m, 2, 2) where a patch's pixels go, to begin with; px: (m, 2) its middle, changed in place.
        iterations, settled_px: when to stop.
        damping: of the bend, grey² per pixel.
        least_contrast: grey levels a patch and what it is laid on must vary by.
        left: (m,) what is left over of its contrast in the picture, changed in place; infinite where it cannot be laid.
    """
    slope = np.empty((weight.size, 8))
    H, step, g, at, A = np.empty((8, 8)), np.empty(8), np.empty(8), np.empty(2), np.empty((2, 2))
    for o in range(len(which)):
        left[o] = np.inf
        patch = patches[which[o]]
        if np.isnan(patch[0, 0]):
            continue
        contrast = _steepest(patch, weight, damping, slope, H)
        if contrast < least_contrast:
            continue
        inverse = np.linalg.inv(H)
        A[:], at[:] = bend[o], px[o]
        gain = offset = 0.0
        done, rest = False, np.inf
        for _ in range(iterations + 1):
            rest = _off(picture, patch, weight, slope, A, at, gain, offset, g)
            if done or not np.isfinite(rest):
                break
            for a in range(8):
                step[a] = 0.0
                for b in range(8):
                    step[a] += inverse[a, b] * g[b]
            gain, offset = gain + step[6], offset + step[7]
            # The patch's own small bend, undone, comes before the one so far.
            b11, b12, b21, b22 = 1 + step[0], step[1], step[3], 1 + step[4]
            area = b11 * b22 - b12 * b21
            i11, i12, i21, i22 = b22 / area, -b12 / area, -b21 / area, b11 / area
            dx, dy = -(i11 * step[2] + i12 * step[5]), -(i21 * step[2] + i22 * step[5])
            for r in range(2):
                at[r] = at[r] + A[r, 0] * dx + A[r, 1] * dy
                A[r, 0], A[r, 1] = A[r, 0] * i11 + A[r, 1] * i21, A[r, 0] * i12 + A[r, 1] * i22
            done = abs(step[2]) < settled_px and abs(step[5]) < settled_px
        shown = contrast * (1 + gain)  # a picture that shows nothing would fit anything
        if np.isfinite(rest) and shown >= least_contrast:
            px[o] = at
            left[o] = rest / shown
