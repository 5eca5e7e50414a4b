"""Halves of the landmarks: they agree where nothing is wrong, and differ as much as their own errors say."""

from __future__ import annotations

import numpy as np
import pytest

from handcap.geometry import se3_exp
from handcap.reconstruct.inertial import States
from handcap.reconstruct.landmarks import Observations
from handcap.reconstruct.selfcheck import split_half

KEYFRAMES = 400


def _seen(tracks: int) -> Observations:
    track = np.repeat(np.arange(tracks), 2)
    keyframe = np.tile([0, 1], tracks)
    nothing = np.zeros((len(track), 2))
    return Observations(keyframe, track, nothing, np.zeros((len(track), 3)), nothing, np.zeros(len(track), np.int64))


def _states(xi: np.ndarray) -> States:
    n, zero = len(xi), np.zeros((len(xi), 3))
    return States(np.arange(n, dtype=np.int64), se3_exp(xi), zero, zero, zero)


def test_halves_with_independent_errors_tell_the_error_of_their_mean() -> None:
    rng = np.random.default_rng(0)
    errors: list[np.ndarray] = []

    def solve(half: Observations) -> States:
        assert len(np.unique(half.track)) == 100
        errors.append(np.c_[np.zeros((KEYFRAMES, 3)), rng.normal(0, 0.002, (KEYFRAMES, 3))])
        return _states(errors[-1])

    metres, radians = split_half(_seen(200), solve)
    actual = np.sqrt(np.mean(np.sum((errors[0] + errors[1])[:, 3:] ** 2 / 4, axis=1)))
    assert metres == pytest.approx(actual, rel=0.1)
    assert radians == pytest.approx(0.0, abs=1e-9)


def test_too_few_landmarks_say_nothing() -> None:
    def solve(half: Observations) -> States:
        raise AssertionError("nothing to solve")

    assert split_half(_seen(60), solve) == (None, None)
