"""How far away the skin of a hand is: two pictures of one moment compared, patch by patch.

The landmark network puts a joint in each picture by itself, a pixel or two beside; over the base line of a head's
cameras that is several centimetres of distance. What both pictures show of the skin can be laid together to a fraction
of a pixel. Both are cut as one rectified pair about the hand, and matched as in Hirschmüller, Stereo Processing by
Semiglobal Matching and Mutual Information, PAMI 2008, by OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handcap.geometry import Array, inverse
from handcap.reconstruct.hands.detector import Picture
from handcap.reconstruct.hands.virtual_view import VirtualView
from handcap.types import MountedCamera

_BLOCK = 5  # px
_ENDS_PX = 2
_LEAST_BASE_M = 0.01  # between cameras, to see a hand from two sides
_LEAST_HALF_TAN = 0.12  # of a cut: a hand farther away is smaller, but has no more pixels


@dataclass(frozen=True, slots=True)
class SkinParams:
    """How distances are measured."""

    size_px: int = 128
    disparities: int = 64  # px to search, half of them farther than expected
    margin: float = 1.4  # of the cut, of what the hand spans
    patch_m: float = 0.005  # to every side of a joint, of which the median counts


def skin_distance(
    pictures: tuple[Picture, Picture],
    mounts: tuple[MountedCamera, MountedCamera],
    rays_cam: Array,
    far_m: float,
    params: SkinParams,
) -> Array:
    """Along rays of the first camera, how far away the first thing is.

    Args:
        pictures: RGB, of one time.
        mounts: of the cameras that made them.
        rays_cam: (21, 3) unit, in the first camera, towards a hand's joints.
        far_m: about as far as the hand is.

    Returns:
        (21,) m; NaN where the pictures do not tell. It is the skin that lies before a joint, or what hides it.
    """
    import cv2

    one, other = mounts
    T_one_other = inverse(one.T_imu_cam) @ other.T_imu_cam
    base_m = float(np.linalg.norm(T_one_other[:3, 3]))
    if base_m < _LEAST_BASE_M:
        return np.full(len(rays_cam), np.nan)
    middle_ray = rays_cam.mean(axis=0) / np.linalg.norm(rays_cam.mean(axis=0))
    R = _rectified(T_one_other[:3, 3] / base_m, middle_ray)
    flat = VirtualView(R, 1.0, params.size_px).flat(rays_cam)
    low, high = flat.min(axis=0), flat.max(axis=0)
    half_tan = max(params.margin * float((high - low).max()) / 2, _LEAST_HALF_TAN)
    focal_px = params.size_px / 2 / half_tan
    z_m = far_m * float(middle_ray @ R[:, 2])
    middle = (low + high) / 2
    view = VirtualView(R, focal_px, params.size_px, (float(middle[0]), float(middle[1])))
    shifted = (float(middle[0]) - base_m / z_m, float(middle[1]))
    facing = VirtualView(T_one_other[:3, :3].T @ R, focal_px, params.size_px, shifted)
    pair = [
        cv2.copyMakeBorder(  # matching needs its whole range beside every pixel
            cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), 0, 0, params.disparities, params.disparities, cv2.BORDER_REPLICATE
        )
        for cut in (view.cut(pictures[0], one.camera), facing.cut(pictures[1], other.camera))
    ]
    disparity = _matcher(params.disparities).compute(*pair)[:, params.disparities : -params.disparities] / 16.0
    per_m = 1 / z_m + disparity / (focal_px * base_m)  # 1 / distance along the axis
    # Pictures of nothing, and what lies beyond what was searched, match best at its ends.
    known = (np.abs(disparity + 0.5) < params.disparities / 2 - _ENDS_PX) & (per_m > 0)
    reach = max(round(params.patch_m * focal_px / z_m), 1)
    at = np.rint((flat - middle) * focal_px + (params.size_px - 1) / 2).astype(int)
    out = np.full(len(rays_cam), np.nan)
    for joint, (x, y) in enumerate(at):
        patch = np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        if known[patch].sum() > (2 * reach + 1) ** 2 / 4:
            out[joint] = 1 / np.median(per_m[patch][known[patch]]) / (rays_cam[joint] @ R[:, 2])
    return out


def _rectified(base: Array, towards: Array) -> Array:
    """(3, 3) axes of a view along a ray whose rows run along the base line."""
    z = towards - base * (base @ towards)
    z = z / max(float(np.linalg.norm(z)), 1e-6)
    return np.stack([base, np.cross(z, base), z], axis=1)


def _matcher(disparities: int) -> Any:
    """One of its own for each call: a matcher keeps what it works in."""
    import cv2

    return cv2.StereoSGBM.create(
        minDisparity=-(disparities // 2),
        numDisparities=disparities,
        blockSize=_BLOCK,
        P1=4 * _BLOCK**2,  # OpenCV's advice for one channel is 8 and 32: fingers are narrow
        P2=24 * _BLOCK**2,
        disp12MaxDiff=2,
        uniquenessRatio=5,
    )
