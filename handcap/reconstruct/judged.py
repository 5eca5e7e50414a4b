"""One verdict for everything worn in a take: spans in which every body is good that can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from handcap.causes import Cause
from handcap.clock import seconds
from handcap.geometry import so3_log
from handcap.reconstruct import verdict
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.hands import HandJudgement, HandResult
from handcap.reconstruct.inputs import runs
from handcap.reconstruct.result import Reconstruction, ReconstructParams
from handcap.reconstruct.rig_take import BodyResult, Recording, Spans, Whole, body_of, tool_on_imu
from handcap.reconstruct.tie import Tied
from handcap.types import SIDES, Side, Stamps

_EDGE_S = 0.3  # of a take in which a device's clock or IMU begins and ends a little apart from the others'
# Said of a gripper whose own camera made nothing of it, and untrue once its tags have placed it in agreement with its
# IMU: it may rest, or what it carries fills its view and turns otherwise than its gyroscope.
_HARMLESS = {
    *("no_motion", "rotation_only", "no_initialisation", "accel_disagrees", "scale_unobservable", "too_short"),
    "tracking_lost",  # `_interruptions` says where its tags lost it
    *("gyro_silent", "gyro_unit", "clock_drift", "clocks_disagree", "camera_imu_rotation", "imu_mismatch"),
}
_RESTING_RAD, _RESTING_M = 0.05, 0.03


def judged(
    recording: Recording,
    devices: Mapping[str, Reconstruction],
    tied: Tied | None,
    bodies: Mapping[str, BodyResult],
    numbers: Mapping[str, Mapping[str, float]],
    wall: Mapping[str, float],
    params: ReconstructParams,
) -> Whole:
    """One verdict: spans in which every body is good that can be; a gripper that lies still spoils nothing."""
    first = next(iter(devices))
    origin = devices[first].chain
    causes: list[Cause] = []
    lost: list[str] = []
    spans: list[tuple[int, int]] | None = None
    good_of: dict[str, list[tuple[int, int]]] = {}  # of those that count
    for device, result in devices.items():
        body = body_of(device)
        chain = None if tied is None else tied.chains.get(device)
        own = result.judgement.causes
        if chain is None or body not in bodies:
            causes += [*own, *_why_lost(recording, device, tied, params)]
            lost.append(device)
            continue
        assert origin is not None, "nothing is tied to a first device without a chain"
        said = list(own)
        if result.chain is None:
            said = [cause for cause in own if cause.code not in _HARMLESS]
            said += [replace(cause, body=body) for cause in _interruptions(chain, params)]
        jaw = bodies[body].jaw
        if jaw is not None:
            said += [replace(cause, body=body) for cause in jaw.causes]
        late_s = float(seconds(chain.t_ns[0], int(origin.t_ns[0])))  # by which its first picture is after the take's
        causes += [_later(cause, late_s) for cause in said]
        good = _absolute(bodies[body].spans_ok_s, chain.t_ns)
        if spans is None:
            spans = good_of[body] = good
        elif result.chain is not None or not _rests(chain):  # one that lies still spoils nothing, seen or not
            good_of[body] = good
            spans = _common(spans, good)
    for device, cause in recording.missing.items():
        causes.append(replace(cause, body=body_of(device)))
        lost.append(device)
    grippers = [d for d in [*devices, *recording.missing] if d != "head"]
    least_ns = params.verdict.shortest_span_s * 1e9
    good = [(a, b) for a, b in spans or [] if b - a >= least_ns]
    if origin is None or not good or (grippers and all(d in lost for d in grippers)):
        return Whole("refused", tuple(causes), (), devices, {}, numbers, wall)
    t0 = int(origin.t_ns[0])
    spans_ok_s = tuple((float(seconds(a, t0)), float(seconds(b, t0))) for a, b in good)
    length_s = float(seconds(origin.t_ns[-1], t0))
    whole = not causes and all(r.chain is None or r.judgement.verdict == "ok" for r in devices.values())
    whole &= sum(b - a for a, b in spans_ok_s) > length_s - _EDGE_S
    if not whole and not causes:
        causes = unnamed_gaps(good_of, t0, int(origin.t_ns[-1]))
    return Whole("ok" if whole else "partial", tuple(causes), spans_ok_s, devices, bodies, numbers, wall)


def with_hands(whole: Whole, found: Mapping[Side, HandResult], told: Mapping[Side, HandJudgement]) -> Whole:
    """The take with its bare hands.

    Hands come and go, so each one's verdict stays its own. But a take with no gripper shows nothing handled where it
    shows no hand at all: it is partial, its spans and its other bodies as they were.
    """
    hands = {f"{side}_hand": hand for side, hand in found.items()}
    whole = replace(whole, hands=hands, hand_judgements={f"{side}_hand": each for side, each in told.items()})
    if hands or set(told) != set(SIDES) or whole.verdict == "refused":
        return whole
    return replace(whole, verdict="partial", causes=(*whole.causes, Cause("no_hands_seen")))


def _later(cause: Cause, by_s: float) -> Cause:
    return cause if cause.span_s is None else replace(cause, span_s=(cause.span_s[0] + by_s, cause.span_s[1] + by_s))


def _rests(chain: Chain) -> bool:
    """Whether a device hardly moves all the take long."""
    T = chain.states.T_world_imu
    turned = np.linalg.norm(so3_log(np.swapaxes(T[:1, :3, :3], 1, 2) @ T[:, :3, :3]), axis=1)
    moved = np.linalg.norm(T[:, :3, 3] - T[0, :3, 3], axis=1)
    return bool(turned.max() < _RESTING_RAD and moved.max() < _RESTING_M)


def _why_lost(recording: Recording, device: str, tied: Tied | None, params: ReconstructParams) -> list[Cause]:
    """What the device's own reconstruction does not say."""
    body = body_of(device)
    if device != "head" and tool_on_imu(recording.rig, device) is None:
        return [Cause("no_tool_frame", body)]
    if tied is None or device in tied.chains:
        return []
    seen, least = tied.unseen.get(device, 0), params.carried.least_sightings
    if seen < least:
        return [Cause("not_tied", body, measured=float(seen), limit=float(least))]
    return [Cause("tags_disagree", body, measured=float(seen))]


def tracked_spans(chain: Chain, params: ReconstructParams) -> Spans:
    """Stretches in which a gripper placed by its tags alone has a pose."""
    t_s = seconds(chain.camera_t_ns, int(chain.camera_t_ns[0]))
    pieces = [(float(t_s[a]), float(t_s[b])) for a, b in runs(chain.tracked)]
    return tuple((a, b) for a, b in pieces if b - a >= params.verdict.shortest_span_s)


def _interruptions(chain: Chain, params: ReconstructParams) -> list[Cause]:
    """Where a gripper placed by its tags alone has no pose, and why; one that lies still needs none there."""
    longest_s = params.verdict.longest_bridge_s
    t_s = seconds(chain.camera_t_ns, int(chain.camera_t_ns[0]))
    unfelt = verdict.imu_gaps(chain.t_ns, chain.imu, longest_s)
    unseen = ~chain.tracked & ~unfelt & (not _rests(chain))
    found: list[Cause] = []
    for code, rows in (("imu_missing", unfelt), ("tracking_lost", unseen)):
        for a, b in runs(rows):
            span = (float(t_s[a]), float(t_s[b]))
            if span[1] - span[0] >= longest_s:
                found.append(Cause(code, None, span, span[1] - span[0], longest_s))
    return found


def unnamed_gaps(good_of: Mapping[str, list[tuple[int, int]]], start_ns: int, end_ns: int) -> list[Cause]:
    """What lies between the good spans of bodies, each part of it too short to have been named by itself."""
    gaps: list[Cause] = []
    for body, good in good_of.items():
        edges = [start_ns, *(edge for span in good for edge in span), end_ns]
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            span = (float(seconds(a, start_ns)), float(seconds(b, start_ns)))
            gaps.append(Cause("tracking_lost", body, span, span[1] - span[0], _EDGE_S))
    gaps.sort(key=lambda gap: -(gap.measured or 0.0))
    long = [gap for gap in gaps if (gap.measured or 0.0) > _EDGE_S]
    return long or gaps[:1]


def _absolute(spans_s: Spans, t_ns: Stamps) -> list[tuple[int, int]]:
    return [(int(t_ns[0] + round(a * 1e9)), int(t_ns[0] + round(b * 1e9))) for a, b in spans_s]


def _common(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies in a span of both."""
    pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(a, b) for a, b in pairs if a < b]
