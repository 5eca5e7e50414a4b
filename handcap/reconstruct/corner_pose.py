"""Where a camera sees a rigid thing of which some corners are known, through any lens, at any angle off its axis."""

from __future__ import annotations

import cv2
import numpy as np

from handcap.cameras import Camera
from handcap.geometry import Array, looking_along, se3, so3_exp


def corner_poses(camera: Camera, px: Array, p_body: Array) -> list[Array]:
    """T_cam_body (4, 4), every one that the corners allow: two for a single square (Collins and Bartoli 2014).

    Args:
        px: (k, 2) corners in the picture, k >= 4; all within the lens.
        p_body: (k, 3) the same corners; a single square if k is 4.
    """
    ray, _ = camera.unproject(px)
    # A pinhole turned to the corners sees them well, however far off the lens's axis they are.
    R_cam_view = looking_along(ray.mean(axis=0))
    flat = ray @ R_cam_view
    middle = p_body.mean(axis=0)
    method = cv2.SOLVEPNP_IPPE if len(px) == 4 else cv2.SOLVEPNP_SQPNP
    ok, rotations, shifts, _ = cv2.solvePnPGeneric(
        p_body - middle, flat[:, :2] / flat[:, 2:], np.eye(3), None, flags=method
    )
    found: list[Array] = []
    for rotation, shift in zip(rotations, shifts, strict=True) if ok else ():
        R_view_body = so3_exp(rotation.ravel())
        p_view = shift.ravel() - R_view_body @ middle
        found.append(se3(R_cam_view @ R_view_body, R_cam_view @ p_view))
    return found
