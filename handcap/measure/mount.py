"""Whether a camera still sits where it was calibrated, from single pictures: by what is fixed to the same device.

A gripper's camera sees its own fingers, a head's camera sees what the other one sees. Both give a small turn of the
camera against its calibration; a shift shows as the turn that would move the picture as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handcap.cameras import Camera
from handcap.geometry import Array, inverse, skew, so3_exp, so3_log, transform
from handcap.measure.fingers import SHARE
from handcap.types import Tag

_ROUNDS = 3
_FIRST_M, _STEP_M = 0.03, 1e-4
_LIKELY_RAD = np.deg2rad(5.0)  # nothing that is screwed on turns farther: holds what two views hardly tell
_LEAST_MATCHES = 25
_SD_RAD = np.deg2rad(0.15)  # of a ray to a point followed in a small picture
_LEAST_BOTH = 3  # looks on either side of a slip


def turn_by_fingers(corners_px: Array, tags: Sequence[Tag], camera: Camera, T_cam_tcp: Array) -> Array | None:
    """Turn of a gripper's camera against its calibration, by both fingers' tags in one picture.

    Jaws open to both sides alike, so what moves both tags in one direction is no opening.

    Args:
        corners_px: (m, 4, 2) corners of the tags seen, clockwise from the tag's own upper left.
        tags: (m,) which they are; on both fingers, or nothing can be told.
        T_cam_tcp: (4, 4) as calibrated.

    Returns:
        (3,) rad: `R_calibrated_now` as a rotation vector in camera axes; None where it cannot be told.
    """
    if {tag.body for tag in tags} != set(SHARE):
        return None
    rays, valid = camera.unproject(corners_px.reshape(-1, 2))
    corners_tcp = np.concatenate([tag.corners_body for tag in tags])
    along = np.repeat([SHARE[tag.body] for tag in tags], 4)[:, None] * np.array([1.0, 0.0, 0.0])

    def expected(width_m: float) -> Array:
        p = transform(T_cam_tcp, corners_tcp + width_m * along)
        return p / np.linalg.norm(p, axis=1, keepdims=True)

    R_now_calibrated, width_m = np.eye(3), _FIRST_M
    for _ in range(_ROUNDS):
        p = expected(width_m) @ R_now_calibrated.T
        slope = (expected(width_m + _STEP_M) @ R_now_calibrated.T - p) / _STEP_M
        J = np.concatenate([-skew(p), slope[:, :, None]], axis=2)[valid].reshape(-1, 4)
        if len(J) < 12:
            return None
        turn = np.linalg.lstsq(J, (rays - p)[valid].ravel(), rcond=None)[0]
        R_now_calibrated, width_m = so3_exp(turn[:3]) @ R_now_calibrated, width_m + float(turn[3])
    return so3_log(R_now_calibrated.T)


def turn_by_pair(rays_left: Array, rays_right: Array, T_left_right: Array) -> Array | None:
    """Turn of the right one of two cameras on one head against the left one, by points that both see.

    Args:
        rays_left, rays_right: (n, 3) unit rays to the same points, each in its camera's frame.
        T_left_right: (4, 4) as calibrated.

    Returns:
        (3,) rad: `R_calibrated_now` of the right camera as a rotation vector in its axes; about the axis that two views
        hardly tell it stays near 0. None where there are too few points.
    """
    if len(rays_left) < _LEAST_MATCHES:
        return None
    R, p = T_left_right[:3, :3], T_left_right[:3, 3]
    turn = np.zeros(3)
    for _ in range(2 * _ROUNDS):
        at_left = rays_right @ (R @ so3_exp(turn)).T
        normal = np.cross(p, at_left)
        length = np.linalg.norm(normal, axis=1)
        # A point along the line through both cameras lies in every plane through it.
        kept = length > 0.2 * np.linalg.norm(p)
        off = np.einsum("ni,ni->n", rays_left, normal)[kept] / length[kept]
        R_now = R @ so3_exp(turn)
        turned = np.cross(p, np.einsum("ij,njk->nik", R_now, -skew(rays_right[kept])), axisb=1, axisc=1)
        J = np.einsum("ni,nij->nj", rays_left[kept], turned) / length[kept, None]
        weight = 1 / np.maximum(np.abs(off) / (2 * _SD_RAD), 1.0)  # Huber's
        A = (J * weight[:, None]).T @ J / _SD_RAD**2 + np.eye(3) / _LIKELY_RAD**2
        b = (J * weight[:, None]).T @ off / _SD_RAD**2 + turn / _LIKELY_RAD**2
        turn = turn - np.linalg.solve(A, b)
    return turn


def left_right(T_imu_left: Array, T_imu_right: Array) -> Array:
    """(4, 4) `T_left_right` of two cameras on one device."""
    return inverse(T_imu_left) @ T_imu_right


@dataclass(frozen=True, slots=True)
class Slip:
    """A camera that turned in its mount: when, and how far."""

    span_s: tuple[float, float]
    turned_rad: float


def slip(t_s: Sequence[float], turns: Sequence[Array]) -> Slip | None:
    """Change of a camera's turn over a take; None where too few looks tell.

    Args:
        t_s: (n,) of each look.
        turns: (n, 3) rad each.
    """
    n = len(turns)
    if n < 2 * _LEAST_BOTH:
        return None
    series, at_s = np.array(turns), np.array(t_s)
    ends = max(_LEAST_BOTH, n // 5)
    before, after = np.median(series[:ends], axis=0), np.median(series[-ends:], axis=0)
    change = after - before
    size = float(np.linalg.norm(change))
    share = (series - before) @ change / max(size**2, 1e-18)
    begun = int(np.argmax(share > 0.25))
    done = int(np.argmax(share > 0.75))
    return Slip((float(at_s[max(begun - 1, 0)]), float(at_s[max(done, begun)])), size)
