# pyright: basic
"""The compiled inner loop of a sensor: light to pixel values."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def expose(light, arriving, row_gain, normal, read_grey, shot_grey, out):
    """Pixels of one picture; bright parts roll off softly, the three colours share their noise.

    Args:
        light: (h, w, 3) float32.
        arriving: (h, w) float32 share of light that the lens lets through.
        row_gain: (h,) float32.
        normal: (h, w) float32, standard normal.
        read_grey: float32 noise that is there in the dark.
        shot_grey: float32 variance of noise per grey level of signal.
        out: (h, w, 3) uint8, changed in place.
    """
    knee, room = np.float32(190.0), np.float32(60.0)
    low, high, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    for v in range(light.shape[0]):
        for u in range(light.shape[1]):
            share = arriving[v, u] * row_gain[v]
            sd = read_grey
            if shot_grey > 0:
                # Green counts twice, as on the sensor.
                signal = (light[v, u, 0] + light[v, u, 1] + light[v, u, 1] + light[v, u, 2]) * share / np.float32(4.0)
                sd = np.sqrt(read_grey * read_grey + shot_grey * min(max(signal, low), high))
            noise = sd * normal[v, u]
            for c in range(3):
                grey = light[v, u, c] * share
                if grey > knee:
                    grey = knee + room * (grey - knee) / (grey - knee + room)
                out[v, u, c] = np.uint8(min(max(grey + noise + half, low), high))
