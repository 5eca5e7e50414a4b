"""How far each observation is believed by the solver of the whole take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handcap.causes import Cause
from handcap.geometry import Array
from handcap.reconstruct import landmarks
from handcap.reconstruct.inertial import States
from handcap.reconstruct.limits import Refused
from handcap.reconstruct.noise import PixelNoise, pixel_noise
from handcap.reconstruct.optics import Optics
from handcap.reconstruct.result import ReconstructParams


@dataclass(frozen=True, eq=False, slots=True)
class Weighed:
    """What goes into the solver.

    Attributes:
        seen: observations.
        sigma_px: (m,) of their tracks, ascending ids.
        noise: they come from.
        gauge: the state whose position and yaw stay put.
        stations: places at which the camera stood.
    """

    seen: landmarks.Observations
    sigma_px: Array
    noise: PixelNoise
    gauge: int
    stations: int


def weigh(
    kept: landmarks.Observations, states: States, optics: Optics, T_imu_cam: Array, params: ReconstructParams
) -> Weighed:
    """Weigh the observations that a gate kept. Raises Refused where too few keyframes see anything.

    Args:
        T_imu_cam: of the first camera.
    """
    views = landmarks.views(kept, len(states))
    sees = views >= params.verdict.min_marks
    if sees.sum() < 4:
        raise Refused(Cause("camera_covered", measured=float(np.median(views)), limit=8.0))
    station = landmarks.stations(kept, len(states), params.gate.still_px)
    once = landmarks.with_views(landmarks.looked_once(kept, station, params.gate.least_still_views), 2)
    _, residual = landmarks.triangulate(once, states.T_world_imu @ T_imu_cam, optics, params.gate)
    noise = pixel_noise(once, residual)
    fewer, share = landmarks.thinned(once, params.most_views)
    # The views left speak for those left out.
    return Weighed(fewer, noise.solver_px * np.sqrt(share), noise, int(np.argmax(sees)), int(station[-1]) + 1)
