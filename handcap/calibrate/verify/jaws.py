"""Shut jaws, or jaws on one gauge: how wide the calibration says they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handcap.calibrate.gripper.record import JawRecord
from handcap.cameras import Camera
from handcap.clock import nanoseconds
from handcap.geometry import Array, transform
from handcap.measure.fingers import SHARE, FingerSights, finger_tags, openings_m
from handcap.types import Gripper, Stamps


@dataclass(frozen=True, slots=True)
class ShutParams:
    """What counts as jaws that rest."""

    still_m: float = 4e-4
    shortest_s: float = 0.4
    settle_s: float = 0.1
    near_m: float = 6e-3  # of what is expected, by any instrument: else they were never closed
    fewest_looks: int = 5
    tags_m: float = 3e-5  # what the mean of a second's looks is off by: corners err alike in all of them
    encoder_m: float = 1e-5
    size: float = 0.015  # of a tag's apparent size: a tone curve moves all its edges


@dataclass(frozen=True, slots=True)
class ShutJaws:
    """What resting jaws show, by the calibration told; NaN for unknown.

    Attributes:
        by_tags_m, by_encoder_m: opening, and how far the measurement itself is off.
        tag_size: apparent size of the finger tags, as a share of what it should be.
    """

    by_tags_m: float
    tags_sigma_m: float
    by_encoder_m: float
    encoder_sigma_m: float
    tag_size: float
    tag_size_sigma: float


def shut_jaws(
    record: JawRecord, gripper: Gripper, camera: Camera, expected_m: float, params: ShutParams | None = None
) -> ShutJaws | None:
    """The narrowest rest of the jaws; None where they never rested near what is expected.

    Args:
        record: of one gripper.
        gripper, camera: as calibrated.
        expected_m: 0, or the width of the block between the jaws.
    """
    params = params or ShutParams()
    by_tags, by_encoder = _tags(record, gripper, camera), _encoder(record, gripper)
    rests = [
        found
        for t_ns, opening in ((record.readings.t_ns, by_encoder), (record.picture_t_ns, by_tags))
        if (found := _narrowest(t_ns, opening, params)) is not None
    ]
    near = [found for found in rests if abs(found[2] - expected_m) < params.near_m]
    if not near:
        return None
    # The encoder comes first, if it rests near: it sees best when jaws stand still.
    start, end, _ = near[0]
    seen = (record.picture_t_ns >= start) & (record.picture_t_ns <= end) & np.isfinite(by_tags)
    read = (record.readings.t_ns >= start) & (record.readings.t_ns <= end)
    tags_m = encoder_m = size = np.nan
    if seen.sum() >= params.fewest_looks:
        tags_m = float(by_tags[seen].mean())
        size = _size(record.sights, seen, gripper, camera, tags_m)
    if gripper.encoder is not None and read.any():
        encoder_m = float(by_encoder[read].mean())
    return ShutJaws(tags_m, params.tags_m, encoder_m, params.encoder_m, size, params.size)


def _tags(record: JawRecord, gripper: Gripper, camera: Camera) -> Array:
    """(f,) opening by both fingers together; NaN where one is hidden."""
    out = np.full((2, len(record.picture_t_ns)), np.nan)
    tags = finger_tags(gripper.tags)
    if gripper.T_cam_tcp is not None and tags and len(record.sights):
        finger = np.array([0 if tag.body == "finger_a" else 1 for tag in tags])[record.sights.tag]
        out[finger, record.sights.picture] = openings_m(record.sights, camera, gripper.T_cam_tcp, tags)
    return out.mean(axis=0)


def _encoder(record: JawRecord, gripper: Gripper) -> Array:
    if gripper.encoder is None:
        return np.full(len(record.readings), np.nan)
    return gripper.encoder.opening_m(record.readings.counts)


def _narrowest(t_ns: Stamps, opening: Array, params: ShutParams) -> tuple[int, int, float] | None:
    """Start, end and opening of the longest rest near the least opening."""
    known = np.isfinite(opening)
    t_ns, opening = t_ns[known], opening[known]
    if len(opening) < params.fewest_looks:
        return None
    # The least of all may be one wild reading.
    least = float(np.percentile(opening, 2))
    inside = np.abs(opening - least) < params.still_m
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    runs = sorted(edges.reshape(-1, 2).tolist(), key=lambda run: t_ns[run[1] - 1] - t_ns[run[0]])
    i, j = runs[-1] if runs else (0, 1)
    settle = int(nanoseconds(params.settle_s))
    start, end = int(t_ns[i]) + settle, int(t_ns[j - 1]) - settle
    if end - start < int(nanoseconds(params.shortest_s)):
        return None
    resting = (t_ns >= start) & (t_ns <= end)
    return (start, end, float(np.median(opening[resting]))) if resting.any() else None


def _size(sights: FingerSights, seen: NDArray[np.bool_], gripper: Gripper, camera: Camera, opening_m: float) -> float:
    """How large tags look, as a share of how large they should where they are."""
    assert gripper.T_cam_tcp is not None
    tags = finger_tags(gripper.tags)
    share: list[float] = []
    for k, tag in enumerate(tags):
        shift = np.array([SHARE[tag.body] * opening_m, 0.0, 0.0])
        expected, _ = camera.project(transform(gripper.T_cam_tcp, tag.corners_body + shift))
        looks = sights.px[(sights.tag == k) & seen[sights.picture]]
        if len(looks):
            share.append(_radius(looks.mean(axis=0)) / _radius(expected))
    return float(np.mean(share)) if share else np.nan


def _radius(corners_px: Array) -> float:
    return float(np.linalg.norm(corners_px - corners_px.mean(axis=0), axis=1).mean())
