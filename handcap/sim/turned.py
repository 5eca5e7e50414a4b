"""A bare board laid down in one attitude after another: what `poses` does, without a room around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handcap import geometry
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.sim import imu
from handcap.sim.motion import PoseCurve
from handcap.types import ImuModel

FACES = np.array(
    [[0, 0, 0], [np.pi / 2, 0, 0], [np.pi, 0, 0], [-np.pi / 2, 0, 0], [0, np.pi / 2, 0], [0, -np.pi / 2, 0]], float
)
_STEP_S, _MARGIN = 0.1, 10  # of control points


def laid_down(attitudes: Array | Sequence[Array], hold_s: float = 3.0, move_s: float = 2.0) -> tuple[PoseCurve, float]:
    """The motion and how long it takes.

    Args:
        attitudes: (k, 3) rotation vectors of the board in the room, one after another.
        hold_s: how long it lies in each.
        move_s: how long a turn takes.
    """
    R = [geometry.so3_exp(attitude) for attitude in attitudes]
    controls = [R[0]] * _MARGIN
    for k, here in enumerate(R):
        controls += [here] * round(hold_s / _STEP_S)
        if k + 1 < len(R):
            turn = geometry.so3_log(here.T @ R[k + 1])
            n = round(move_s / _STEP_S)
            share = (1 - np.cos(np.pi * np.arange(1, n + 1) / (n + 1))) / 2
            controls += [here @ geometry.so3_exp(s * turn) for s in share]
    duration_s = (len(controls) - _MARGIN) * _STEP_S
    T_room_imu = geometry.se3(np.array(controls + [R[-1]] * _MARGIN), np.zeros(3))
    return PoseCurve.through_controls(-_MARGIN * _STEP_S, _STEP_S, T_room_imu), duration_s


def record_poses(
    seed: int, model: ImuModel, errors: imu.ImuErrors = imu.RAW_PART, askew: int = 10, hold_s: float = 3.0
) -> imu.ImuRecording:
    """A part laid on its six faces and then askew; the seed draws the part, the attitudes and the noise."""
    rng = np.random.default_rng([seed, 1])
    motion, duration_s = laid_down(np.concatenate([FACES, rng.uniform(-2.0, 2.0, (askew, 3))]), hold_s)
    t_ns = nanoseconds(np.arange(int(duration_s * model.rate_hz)) / model.rate_hz)
    return imu.record(motion, model, errors, t_ns, rng, np.random.default_rng([seed, 2]))
