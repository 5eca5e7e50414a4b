"""What was wrong with a camera in a take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handcap.capture.board_watch import DeviceWatch
from handcap.capture.camera_watch import LOOK_EVERY_NS, CameraWatch
from handcap.capture.limits import SpotParams
from handcap.capture.look import Look
from handcap.causes import Cause
from handcap.clock import NS_PER_S
from handcap.measure.stamps import gaps_ns, jitter_s, lost_share

Span = tuple[float, float]
_LEAST_PICTURES = 8
_MOST_OF_A_KIND = 3
_LOOK_S = LOOK_EVERY_NS / NS_PER_S
_MOVES_RAD_S = 0.05  # a device that turns so fast sees another picture every time


def dark_s(watched: CameraWatch, params: SpotParams) -> list[Span]:
    """Stretches in which its pictures were dark."""
    return _stretches(watched.looks, lambda look: look.brightness < params.dark)


def camera_causes(
    name: str,
    watched: CameraWatch,
    begun_s: float,
    length_s: float,
    board: DeviceWatch | None,
    others_dark_s: Sequence[Sequence[Span]],
    params: SpotParams,
) -> list[Cause]:
    """Causes that one camera gives.

    Args:
        name: of the camera.
        watched: during the take.
        begun_s: when the first thing of all came.
        length_s: of the take.
        board: that it sits on.
        others_dark_s: when each of the rig's other cameras saw nothing but darkness.
    """
    if watched.pictures < _LEAST_PICTURES:
        return [Cause("no_pictures", name, measured=float(watched.pictures), limit=float(_LEAST_PICTURES))]
    causes = _stamps(name, watched, begun_s, length_s, board, params)
    frozen_s = watched.repeated_s[1] - watched.repeated_s[0]
    frozen = frozen_s > params.frozen_s and _moved(board, watched.repeated_s)
    if frozen:
        causes.append(Cause("camera_frozen", name, watched.repeated_s, frozen_s, params.frozen_s))
    blind = _blind(name, watched, length_s, others_dark_s, params)
    causes += blind
    if not blind and not frozen:
        causes += _poor(name, watched, params)
    return causes


def _stamps(
    name: str, watched: CameraWatch, begun_s: float, length_s: float, board: DeviceWatch | None, params: SpotParams
) -> list[Cause]:
    gap_ns = round(params.gap_s * NS_PER_S)
    gaps = gaps_ns(watched.t_ns, gap_ns)
    spans = [(watched.since_start_s(a), watched.since_start_s(b)) for a, b in gaps]
    first_s, last_s = (watched.since_start_s(int(t)) for t in watched.t_ns[[0, -1]])
    silent = [span for span in ((begun_s, first_s), (last_s, length_s)) if span[1] - span[0] > params.gap_s]
    causes = [Cause("frames_missing", name, span) for span in [*spans, *silent][:_MOST_OF_A_KIND]]
    jumped = board is not None and any(abs(jump.by_ns) * 1e-9 > params.jump_s for jump in board.jumps)
    by_number = 0.0 if gaps else watched.lost / (watched.pictures + watched.lost)
    lost = by_number if jumped else max(lost_share(watched.t_ns, gap_ns), by_number)
    if lost > params.most_lost:
        causes.append(Cause("pictures_lost", name, measured=100 * lost, limit=100 * params.most_lost))
    off_s = jitter_s(watched.t_ns)
    if not jumped and off_s > params.jitter_s:
        causes.append(Cause("stamps_unsteady", name, measured=1e3 * off_s, limit=1e3 * params.jitter_s))
    return causes


def _moved(board: DeviceWatch | None, span_s: Span) -> bool:
    """Whether the device turned then, so that its camera had something new to show."""
    if board is None or not board.samples:
        return True
    still = board.still_s(_MOVES_RAD_S, 1 << 30)
    return sum(max(min(span_s[1], b) - max(span_s[0], a), 0.0) for a, b in still) < 0.8 * (span_s[1] - span_s[0])


def _blind(
    name: str, watched: CameraWatch, length_s: float, others_dark_s: Sequence[Sequence[Span]], params: SpotParams
) -> list[Cause]:
    """Stretches in which there was nothing to be seen: glare, darkness, or something before the lens."""
    looks = watched.looks
    bright = _long(_stretches(looks, lambda look: look.brightness > params.bright), params)
    causes = [Cause("too_bright", name, span, _middle(looks, span, "brightness"), params.bright) for span in bright]
    dark = dark_s(watched, params)

    def nothing(look: Look) -> bool:
        return look.brightness <= params.bright and (
            look.corners < params.least_corners or look.brightness < params.dark
        )

    for span in _long(_stretches(looks, nothing), params):
        # Darkness that comes and goes, or that no other camera sees, is before the lens.
        everywhere = all(_covers(spans, span) for spans in others_dark_s)
        always = span[1] - span[0] > 0.8 * length_s
        if _covers(dark, span) and everywhere and (always or others_dark_s):
            causes.append(Cause("too_dark", name, span, _middle(looks, span, "brightness"), params.dark))
        else:
            points = _middle(looks, span, "corners")
            causes.append(
                Cause(
                    "camera_covered", name, span, min(points, params.least_corners - 1.0), float(params.least_corners)
                )
            )
    return causes[:_MOST_OF_A_KIND]


def _poor(name: str, watched: CameraWatch, params: SpotParams) -> list[Cause]:
    """What makes pictures poor that show something."""
    causes: list[Cause] = []
    flickering = _flickers(watched.looks, params)
    if flickering is not None:
        causes.append(Cause("lamp_flickers", name, flickering, 100 * _strength(watched.looks, flickering, params)))
    edge_px = _median([look.edge_px for look in watched.looks])
    followed = _median([look.followed for look in watched.looks])
    if edge_px > params.most_edge_px:
        causes.append(Cause("pictures_blurred", name, measured=edge_px, limit=params.most_edge_px))
    if followed < params.least_followed:
        causes.append(Cause("hard_to_follow", name, measured=100 * followed, limit=100 * params.least_followed))
    return causes


def _flickers(looks: Sequence[Look], params: SpotParams) -> Span | None:
    """When brightness jumps from picture to picture, in most pictures of some seconds."""
    found: list[float] = []
    for k, look in enumerate(looks):
        within = [e for e in looks[k:] if e.t_s < look.t_s + params.flicker_s and np.isfinite(e.flicker)]
        jumping = [each.t_s for each in within if each.flicker > params.flicker]
        if len(within) >= params.least_flickers and len(jumping) >= params.flicker_share * len(within):
            found += jumping
    return (min(found), max(found)) if found else None


def _strength(looks: Sequence[Look], span_s: Span, params: SpotParams) -> float:
    return _median(
        [look.flicker for look in looks if span_s[0] <= look.t_s <= span_s[1] and look.flicker > params.flicker]
    )


def _stretches(looks: Sequence[Look], bad: Callable[[Look], bool]) -> list[Span]:
    """From the first to the last of consecutive bad looks, and to the next one, when all was well again."""
    spans: list[Span] = []
    began: float | None = None
    for look in looks:
        if bad(look):
            began = look.t_s if began is None else began
        elif began is not None:
            spans.append((began, look.t_s))
            began = None
    if began is not None:
        spans.append((began, looks[-1].t_s + _LOOK_S))
    return spans


def _long(spans: Sequence[Span], params: SpotParams) -> list[Span]:
    return [span for span in spans if span[1] - span[0] > params.blind_s]


def _covers(spans: Sequence[Span], span: Span) -> bool:
    """Whether most of a span lies within others."""
    within = sum(max(min(span[1], b) - max(span[0], a), 0.0) for a, b in spans)
    return within > 0.5 * (span[1] - span[0])


def _middle(looks: Sequence[Look], span: Span, what: str) -> float:
    return _median([float(getattr(look, what)) for look in looks if span[0] <= look.t_s <= span[1] - _LOOK_S / 2])


def _median(values: Sequence[float]) -> float:
    told = [value for value in values if np.isfinite(value)]
    return float(np.median(told)) if told else float("nan")
