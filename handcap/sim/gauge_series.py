"""Jaws that close on gauge blocks, as far as tags and encoder tell of it: corners and counts, and no pictures.

Cheap enough for hundreds of rigs. What corners are off by was measured in rendered takes: 0.03 px from picture to
picture, as much again that changes with where between pixels a corner lies, and a part that stays with each corner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handcap import geometry
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.sim import rigs
from handcap.sim.keys import Level
from handcap.types import CameraSigma, Gripper, JawReadings, MountedCamera, Rig, Side, Stamps

_BEYOND_M = 0.02  # opened so much farther between two blocks
_MOVE_S, _WAIT_S = 0.4, 0.5


@dataclass(frozen=True, slots=True)
class SeriesParams:
    """How good the instruments are; standard deviations."""

    camera_hz: float = 20.0
    encoder_hz: float = 100.0
    hold_s: float = 1.2
    white_px: float = 0.03  # from picture to picture
    phase_px: float = 0.03  # with where a corner lies between pixels
    beside_px: float = 0.07  # for good
    widening_px: float = 0.05  # of dark squares
    seat_m: float = 1e-5  # of a block between the pads
    lens: CameraSigma = CameraSigma(1e-3, 1e-3, focal=5e-4, centre_px=0.2)  # noqa: RUF009  frozen
    hysteresis_m: float = 0.0  # the encoder's reading is behind the jaws by half of it
    backwards: bool = False  # whether opening turns the encoder back


@dataclass(frozen=True, eq=False, slots=True)
class GaugeSeries:
    """What one gripper gave, and what is true of it.

    Attributes:
        known: the rig before: drawing, and the lens as it was calibrated.
        true: the rig as it is.
        camera_t_ns: (f,) stamps of its pictures.
        picture, tag, px: (m,), (m,), (m, 4, 2) looks at finger tags: in which picture, at which tag, its corners.
        beside_px: (t, 4, 2) by which every corner is always seen beside its place.
        readings: of the encoder.
        opening_m: (f,) how far the jaws truly were open.
    """

    known: Rig
    true: Rig
    camera_t_ns: Stamps
    picture: NDArray[np.int64]
    tag: NDArray[np.int64]
    px: Array
    beside_px: Array
    readings: JawReadings
    opening_m: Array


def record_series(
    gauges_m: ArrayLike, seed: int, side: Side = "right", params: SeriesParams | None = None, rounds: int = 1
) -> GaugeSeries:
    """A technician takes every block from the first to the last and back.

    Args:
        gauges_m: widths.
        seed: which specimen of the gripper, and which noise.
        rounds: how often there and back.
    """
    params = params or SeriesParams()
    rng = np.random.default_rng([seed, 41])
    known, true = _specimen(side, params, rng)
    widths_m = np.asarray(gauges_m, float)
    order = np.tile(np.concatenate([widths_m, widths_m[::-1]]), rounds)
    jaw, end_s = _script(order + params.seat_m * rng.standard_normal(len(order)), params)
    frame_s = np.arange(0.0, end_s, 1 / params.camera_hz)
    beside_px = params.beside_px * rng.standard_normal((len(true.grippers[side].tags), 4, 2))
    picture, tag, px = _looks(true.cameras[side], true.grippers[side], jaw.at(frame_s), beside_px, params, rng)
    return GaugeSeries(
        known=known,
        true=true,
        camera_t_ns=nanoseconds(frame_s),
        picture=picture,
        tag=tag,
        px=px,
        beside_px=beside_px[: int(tag.max()) + 1],
        readings=_readings(true.grippers[side], jaw, end_s, params, rng),
        opening_m=jaw.at(frame_s),
    )


def _specimen(side: Side, params: SeriesParams, rng: np.random.Generator) -> tuple[Rig, Rig]:
    """The rig as it is known before, and as it is."""
    drawn = rigs.drawn(side, 0)
    true = rigs.specimen(drawn, rigs.PRINTED, rng)
    camera, gripper = true.cameras[side], true.grippers[side]
    if params.backwards and gripper.encoder is not None:
        turned = replace(gripper.encoder, metres_per_rad=-gripper.encoder.metres_per_rad)
        true = replace(true, grippers={side: replace(gripper, encoder=turned)})
    fx, fy, cx, cy, *terms = camera.camera.params
    off = rng.standard_normal(3) * [params.lens.focal, params.lens.centre_px, params.lens.centre_px]
    lens = replace(camera.camera, params=(fx * (1 + off[0]), fy * (1 + off[0]), cx + off[1], cy + off[2], *terms))
    calibrated = replace(camera, camera=lens, sigma=params.lens)
    return replace(drawn, cameras={side: calibrated}), true


def _script(held_m: Array, params: SeriesParams) -> tuple[Level, float]:
    """Openings over time: wider, closed on a block, held, wider again."""
    jaw, t_s = Level(), 0.0
    jaw.add(t_s, 0.03)
    for width_m in held_m:
        for value_m, after_s in ((width_m + _BEYOND_M, _MOVE_S), (width_m + _BEYOND_M, _WAIT_S), (width_m, _MOVE_S)):
            t_s += after_s
            jaw.add(t_s, value_m)
        t_s += params.hold_s
        jaw.add(t_s, width_m)
    jaw.add(t_s + _MOVE_S, held_m[-1] + _BEYOND_M)
    jaw.add(t_s + _MOVE_S + _WAIT_S, held_m[-1] + _BEYOND_M)
    return jaw, t_s + _MOVE_S + _WAIT_S


def _looks(
    camera: MountedCamera,
    gripper: Gripper,
    opening_m: Array,
    beside_px: Array,
    params: SeriesParams,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    assert gripper.T_cam_tcp is not None
    widening = params.widening_px * rng.standard_normal()
    picture: list[NDArray[np.int64]] = []
    which: list[NDArray[np.int64]] = []
    corners: list[Array] = []
    fingers = [tag for tag in gripper.tags if tag.body != "tcp"]
    for k, tag in enumerate(fingers):
        shift = np.zeros((len(opening_m), 1, 3))
        shift[:, 0, 0] = opening_m * (-0.5 if tag.body == "finger_a" else 0.5)
        px, seen = camera.camera.project(geometry.transform(gripper.T_cam_tcp, tag.corners_body + shift))
        outward = px - px.mean(axis=1, keepdims=True)
        px = px + widening * np.sqrt(2) * outward / np.linalg.norm(outward, axis=2, keepdims=True)
        px += beside_px[k]
        px += params.phase_px * np.sqrt(2) * np.sin(2 * np.pi * px + rng.uniform(0, 2 * np.pi, (4, 2)))
        px += params.white_px * rng.standard_normal(px.shape)
        shown = np.flatnonzero(seen.all(axis=1) & camera.camera.in_picture(px, 3.0).all(axis=1))
        picture.append(shown)
        which.append(np.full(len(shown), k))
        corners.append(px[shown])
    return np.concatenate(picture), np.concatenate(which), np.concatenate(corners)


def _readings(
    gripper: Gripper, jaw: Level, end_s: float, params: SeriesParams, rng: np.random.Generator
) -> JawReadings:
    assert gripper.encoder is not None
    t_s = np.arange(0.0, end_s, 1 / params.encoder_hz)
    opening_m = jaw.at(t_s)
    # Play: the encoder follows once the jaws have gone through half of it.
    behind, half = opening_m[0], params.hysteresis_m / 2
    followed = np.empty_like(opening_m)
    for k, value in enumerate(opening_m):
        behind = min(max(behind, value - half), value + half)
        followed[k] = behind
    return JawReadings(nanoseconds(t_s), gripper.encoder.counts(followed if half else opening_m, rng))
