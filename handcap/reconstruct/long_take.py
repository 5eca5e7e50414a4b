"""A long take: its stretches solved apart, those in which too little happens together with a neighbour, and joined."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from handcap.reconstruct.apart import SolvedStretch
from handcap.reconstruct.joining import joined
from handcap.reconstruct.result import Progress, ReconstructParams
from handcap.reconstruct.rig_take import Recording, Whole, body_of
from handcap.reconstruct.stretches import Stretch, together

Solve = Callable[[Sequence[Stretch], Progress], list[SolvedStretch]]

# What a stretch is refused for that is too quiet to be solved by itself; what came before it may hold it.
_QUIET = {"no_motion", "rotation_only", "no_initialisation", "accel_disagrees", "scale_unobservable", "too_short"}


def reconstruct_long(
    recording: Recording, where: Sequence[Stretch], solve: Solve, params: ReconstructParams, on_progress: Progress
) -> tuple[Whole, Mapping[str, Collection[int]]]:
    """The whole take, and the stamps of pictures that did not decode, by camera.

    Args:
        solve: reconstructs stretches, in order, none of which depends on another.
    """
    anchor = body_of(next(iter(recording.cameras)))
    where, parts = list(where), solve(where, lambda what, share: on_progress(what, 0.9 * share))
    k = 0
    while k < len(parts):
        quiet = _QUIET & {cause.code for cause in parts[k].result.causes if cause.body == anchor}
        if anchor in parts[k].result.bodies or not quiet or len(parts) == 1:
            k += 1
            continue
        first = max(k - 1, 0)
        both = together(where[first], where[first + 1])
        (tried,) = solve([both], lambda what, share: on_progress(what, 0.9))
        if anchor in tried.result.bodies:
            where[first : first + 2], parts[first : first + 2] = [both], [tried]
            k = first
        k += 1
    on_progress("joining the stretches", 0.95)
    undecodable = {
        camera: {t_ns for part in parts for t_ns in part.undecodable[camera]} for camera in recording.cameras.values()
    }
    limits = params.verdict
    whole = joined(
        recording,
        [part.result for part in parts],
        where,
        limits.max_position_sigma_m,
        limits.shortest_span_s,
        params.hands.limits,
    )
    return whole, undecodable
