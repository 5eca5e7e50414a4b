"""From a solved stretch to the whole take: predict by IMU, look at the tracks, solve a sliding window, move on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from handcap.cameras import Camera
from handcap.geometry import Array, se3, so3_exp, so3_log
from handcap.reconstruct.bundle import Anchor, BundleParams, optimise
from handcap.reconstruct.inertial import Preintegrator, States, predict
from handcap.reconstruct.landmarks import GateParams, Observations, gate
from handcap.types import Stamps


@dataclass(frozen=True, slots=True)
class ExtendParams:
    step: int = 4  # keyframes predicted at once: under a second, where the IMU alone stays within centimetres
    window: int = 12  # solved keyframes that take part
    held: int = 2  # of them, the farthest ones stay put
    bridged_s: float = 0.7  # between two solved keyframes, those in between need no solving to begin with
    gate: GateParams = field(
        default_factory=lambda: GateParams(least_gate_px=3.0)
    )  # predictions are off by more than tracking noise
    bundle: BundleParams = field(default_factory=lambda: BundleParams(iterations=8, relative_tolerance=1e-3))


def extend(
    solved: States,
    index: NDArray[np.int64],
    t_ns: Stamps,
    seen: Observations,
    camera: Camera,
    T_imu_cam: Array,
    imu: Preintegrator,
    pixel_sigma: float,
    params: ExtendParams | None = None,
    on_step: Callable[[float], None] = lambda share: None,
) -> States:
    """States of all keyframes.

    Args:
        solved: states of the keyframes `index` (ascending).
        t_ns: (n,) all keyframes' times, IMU clock.
        seen: observations of all keyframes.
    """
    params = params or ExtendParams()
    n = len(t_ns)
    known = np.zeros(n, bool)
    known[index] = True
    states = States(t_ns, np.tile(np.eye(4), (n, 1, 1)), np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3)))
    states = _bridged(states.put(index, solved), known, imu, params)
    while not known.all():
        chunk, near, window = _next_chunk(known, params)
        T, v = predict(states, near, [int(t) for t in t_ns[chunk]], imu)
        count = len(chunk)
        guess = States(
            t_ns[chunk],
            T,
            v,
            np.tile(states.gyro_bias[near], (count, 1)),
            np.tile(states.accel_bias[near], (count, 1)),
        )
        states = states.put(chunk, guess)
        known[chunk] = True
        part = states.take(window)
        local = replace(seen, keyframe=seen.keyframe - window[0])
        local = local.where((local.keyframe >= 0) & (local.keyframe < len(window)))
        local, _, _, _ = gate(local, part.T_world_imu @ T_imu_cam, camera, params.gate)
        far = [k for k in range(len(window)) if window[k] not in set(chunk.tolist())]
        held = far[: params.held] if chunk[0] > near else far[-params.held :]
        anchors = [Anchor(k) for k in held]
        out = optimise(part, local, camera, T_imu_cam, imu, max(pixel_sigma, 0.5), anchors, params=params.bundle)
        if np.all(np.isfinite(out.states.T_world_imu)):
            states = states.put(window, out.states)
        on_step(float(known.mean()))
    return states


def _bridged(states: States, known: NDArray[np.bool_], imu: Preintegrator, params: ExtendParams) -> States:
    """Keyframes in short holes, half-way between what the IMU predicts from either side; updates `known`."""
    where = np.flatnonzero(known)
    for a, b in zip(where[:-1], where[1:], strict=True):
        if b - a < 2 or states.t_ns[b] - states.t_ns[a] > params.bridged_s * 1e9:
            continue
        hole = np.arange(a + 1, b)
        t_ns = [int(t) for t in states.t_ns[hole]]
        (T, v), (T_back, v_back) = predict(states, int(a), t_ns, imu), predict(states, int(b), t_ns, imu)
        half = so3_exp(so3_log(np.swapaxes(T[:, :3, :3], 1, 2) @ T_back[:, :3, :3]) / 2)
        middle = se3(T[:, :3, :3] @ half, (T[:, :3, 3] + T_back[:, :3, 3]) / 2)
        bias = [
            (values[a] + values[b]) / 2 * np.ones((len(hole), 3)) for values in (states.gyro_bias, states.accel_bias)
        ]
        states = states.put(hole, States(states.t_ns[hole], middle, (v + v_back) / 2, *bias))
        known[hole] = True
    return states


def _next_chunk(known: NDArray[np.bool_], params: ExtendParams) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
    """Unknown keyframes to predict next, the known neighbour to predict from, and the window (ascending) to solve."""
    where = np.flatnonzero(known)
    gaps = np.flatnonzero(np.diff(where) > 1)
    if len(gaps):  # holes first, then the end, then the start
        near = int(where[gaps[0]])
    elif where[-1] < len(known) - 1:
        near = int(where[-1])
    else:
        near = int(where[0])
        chunk = np.arange(max(near - params.step, 0), near)
        last = near
        while last + 1 < len(known) and known[last + 1] and last - near + 1 < params.window:
            last += 1
        return chunk, near, np.arange(chunk[0], last + 1)
    end = near + 1
    while end < len(known) and not known[end] and end - near <= params.step:
        end += 1
    chunk = np.arange(near + 1, end)
    first = near
    while first > 0 and known[first - 1] and near - first + 1 < params.window:
        first -= 1
    return chunk, near, np.arange(first, end)
