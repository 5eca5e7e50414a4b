"""One take of a whole rig: every device from its own camera and IMU, tied in one world, judged as one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from handcap.causes import Cause, Verdict
from handcap.clock import seconds
from handcap.errors import ModelError
from handcap.geometry import Array, adjoint, inverse, so3_log
from handcap.measure.tags import find_tags
from handcap.reconstruct import verdict
from handcap.reconstruct.carried import carried
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.hands import HandResult, find_hands
from handcap.reconstruct.hands.detector import Side
from handcap.reconstruct.inputs import runs
from handcap.reconstruct.jaw import JawWidth, jaw_width
from handcap.reconstruct.pipeline import reconstruct_take
from handcap.reconstruct.result import Reconstruction, ReconstructParams
from handcap.reconstruct.tie import Sightings, Tied, tie
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import Frame, Gripper, ImuSamples, JawReadings, Rig, Stamps, Tag, TagFamily, Trajectory

log = logging.getLogger(__name__)

Spans = tuple[tuple[float, float], ...]
Progress = Callable[[str, float], None]
_SIDES: tuple[Side, ...] = ("left", "right")
_CUBE: TagFamily = "36h11"
_EDGE_S = 0.3  # of a take in which a device's clock or IMU begins and ends a little apart from the others'
# Said of a gripper whose own camera made nothing of it, and untrue once its tags have placed it in agreement with its
# IMU: it may rest, or what it carries fills its view and turns otherwise than its gyroscope.
_HARMLESS = {
    *("no_motion", "rotation_only", "no_initialisation", "accel_disagrees", "scale_unobservable", "too_short"),
    *("gyro_silent", "gyro_unit", "clock_drift", "clocks_disagree", "camera_imu_rotation", "imu_mismatch"),
}
_RESTING_RAD, _RESTING_M = 0.05, 0.03


@dataclass(frozen=True, eq=False, slots=True)
class Recording:
    """What a take holds of one rig, read when it is asked for.

    Attributes:
        rig: its calibration.
        cameras: the camera to follow, by device; the first device's world is everybody's.
        recorded: all cameras with pictures.
        stamps: of all pictures of a camera, as recorded.
        frames: grey pictures of a camera from the beginning, each time it is called.
        imu: samples of a device.
        jaw: encoder readings of a gripper.
        missing: devices that were worn and lack pictures or samples, and what to say of it.
        colour: the same pictures in RGB; without it no bare hands are looked for.
    """

    rig: Rig
    cameras: Mapping[str, str]
    recorded: Collection[str]
    stamps: Callable[[str], Stamps]
    frames: Callable[[str], Iterator[Frame]]
    imu: Callable[[str], ImuSamples]
    jaw: Callable[[str], JawReadings]
    missing: Mapping[str, Cause] = field(default_factory=dict)
    colour: Callable[[str], Iterator[Frame]] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class BodyResult:
    """One body in the take's world.

    Attributes:
        verdict, spans_ok_s: of this body alone; spans from the first picture of its own camera.
        poses: a row per picture of its own camera.
        dense: a row per IMU sample.
        rel_sigma_1s: rms sigma of the motion over one second per axis, m and rad.
        jaw: opening, of a gripper.
    """

    verdict: Verdict
    spans_ok_s: Spans
    poses: Trajectory
    dense: Trajectory
    rel_sigma_1s: tuple[float | None, float | None]
    jaw: JawWidth | None


@dataclass(frozen=True, eq=False, slots=True)
class Whole:
    """What became of a take.

    Attributes:
        verdict, causes, spans_ok_s: of everything worn together; spans from the first picture of the first device.
        devices: each one's own reconstruction, in its own world.
        bodies: by name: head, left_tcp, right_tcp; those that have a trajectory.
        numbers: by body, what tie and jaw rest on.
        seconds: time by step; steps of several devices may run at the same time.
        hands: bare ones that were seen, by body: left_hand, right_hand.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    spans_ok_s: Spans
    devices: Mapping[str, Reconstruction]
    bodies: Mapping[str, BodyResult]
    numbers: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]
    hands: Mapping[str, HandResult] = field(default_factory=dict)


def body_of(device: str) -> str:
    """The body that a device's trajectory is written for."""
    return "head" if device == "head" else f"{device}_tcp"


def reconstruct_whole(
    recording: Recording,
    params: ReconstructParams | None = None,
    on_progress: Progress = lambda what, share: None,
    solve: Callable[[Progress], Mapping[str, Reconstruction]] | None = None,
) -> Whole:
    """Reconstruct everything worn in one take.

    Args:
        solve: solves every device of the recording, in its order; by default one after the other, here.
    """
    params = params or ReconstructParams()

    def one_by_one(on_progress: Progress) -> dict[str, Reconstruction]:
        out: dict[str, Reconstruction] = {}
        for k, device in enumerate(recording.cameras):

            def report(what: str, share: float, k: int = k) -> None:
                on_progress(what, (k + share) / len(recording.cameras))

            out[device] = solve_device(recording, device, params, report)
        return out

    # Threaded sums depend on the number of cores in their last digits; the results must not.
    with threadpool_limits(1, "blas"):
        devices = (solve or one_by_one)(lambda what, share: on_progress(what, 0.9 * share))
        return _reconstructed(recording, devices, params, on_progress)


def solve_device(
    recording: Recording, device: str, params: ReconstructParams, on_progress: Progress = lambda what, share: None
) -> Reconstruction:
    """One device by itself, in its own world."""
    of = "" if device == "head" else f" of the {device} gripper"
    camera = recording.cameras[device]
    return reconstruct_take(
        lambda: recording.frames(camera),
        recording.imu(device),
        recording.rig.devices[device],
        recording.rig.cameras[camera],
        params,
        lambda what, share: on_progress(what + of, share),
        body_of(device),
    )


def _reconstructed(
    recording: Recording, devices: Mapping[str, Reconstruction], params: ReconstructParams, on_progress: Progress
) -> Whole:
    wall = {f"{device}: {step}": s for device, result in devices.items() for step, s in result.seconds.items()}
    on_progress("tying the devices together", 0.92)
    start = time.perf_counter()
    tied = _tie(recording, devices, params)
    wall["tying"] = time.perf_counter() - start
    start = time.perf_counter()
    bodies, numbers = _bodies(recording, devices, tied, params)
    wall["jaws"] = time.perf_counter() - start
    whole = _judged(recording, devices, tied, bodies, numbers, wall, params)
    start = time.perf_counter()
    hands = _bare_hands(recording, whole, tied, params, on_progress)
    wall["hands"] = time.perf_counter() - start
    return replace(whole, hands=hands)


def _bare_hands(
    recording: Recording,
    whole: Whole,
    tied: Tied | None,
    params: ReconstructParams,
    on_progress: Callable[[str, float], None],
) -> dict[str, HandResult]:
    """Hands that hold no gripper, by body; none without a head or without the network's weights."""
    rig = recording.rig
    sides: list[Side] = [side for side in _SIDES if side not in rig.grippers]
    if not params.hands.on or recording.colour is None or not sides or tied is None or "head" not in whole.bodies:
        return {}
    from handcap.reconstruct.hands.mediapipe_detector import MediapipeDetector

    followed = recording.cameras["head"]
    others = [c for c in recording.recorded if c != followed and c in rig.cameras and rig.cameras[c].device == "head"]
    mounts = {camera: rig.cameras[camera] for camera in [followed, *others]}
    on_progress("looking for bare hands", 0.95)
    try:
        detector = MediapipeDetector()
    except ModelError as error:
        log.info("no hands: %s", error)
        return {}
    with detector:
        found = find_hands(recording.colour, mounts, tied.chains["head"], sides, detector, params.hands)
    return {f"{side}_hand": hand for side, hand in found.items()}


def _tie(recording: Recording, devices: Mapping[str, Reconstruction], params: ReconstructParams) -> Tied | None:
    """All chains in the first device's world; None when that one has none."""
    first = next(iter(recording.cameras))
    chains = {device: result.chain for device, result in devices.items() if result.chain is not None}
    if first not in chains:
        return None
    anchor = chains.pop(first)
    if first != "head":
        return Tied({first: anchor}, {}, dict.fromkeys(chains, 0))
    worn = [d for d in devices if d != first]
    tools = {d: T for d in worn if (T := tool_on_imu(recording.rig, d)) is not None}
    sightings = _sightings(recording, devices[first], {d: recording.rig.grippers[d] for d in tools}) if tools else {}
    tied = tie(anchor, {d: chains[d] for d in tools if d in chains}, sightings, tools, params.tie)
    for device, T_imu_tcp in tools.items():
        if device in tied.chains:
            continue
        camera = recording.rig.cameras[recording.cameras[device]]
        found = carried(
            tied.chains[first],
            sightings.get(device, ()),
            recording.imu(device),
            recording.rig.devices[device],
            T_imu_tcp,
            recording.stamps(recording.cameras[device]),
            camera.dt_imu_cam_s,
            params.carried,
        )
        seen = sum(len(s) for s in sightings.get(device, ()))
        if found is None:
            tied = replace(tied, unseen={**tied.unseen, device: seen})
        else:
            numbers = {**tied.numbers, device: {"tag_sightings": float(seen), "by_tags_alone": 1.0}}
            tied = replace(tied, chains={**tied.chains, device: found}, numbers=numbers)
    return tied


def _sightings(
    recording: Recording, head: Reconstruction, grippers: Mapping[str, Gripper]
) -> dict[str, list[Sightings]]:
    """Every gripper's tags in every camera of the head."""
    rig = recording.rig
    followed = rig.cameras[recording.cameras["head"]] if "head" in recording.cameras else None
    if followed is None or head.time_offset_s is None:
        return {}
    # Cameras of one device share its trigger: what the offset of the one is off by, that of the other is.
    off_s = head.time_offset_s - followed.dt_imu_cam_s
    owner: dict[int, tuple[str, Tag]] = {}
    for device, gripper in grippers.items():
        owner |= {tag.id: (device, tag) for tag in gripper.tags if tag.body == "tcp" and tag.family == _CUBE}
    out: dict[str, list[Sightings]] = {device: [] for device in grippers}
    for camera, mount in rig.cameras.items():
        if mount.device != "head" or camera not in recording.recorded:
            continue
        found: dict[str, list[tuple[int, Tag, Array]]] = {device: [] for device in grippers}
        for frame in recording.frames(camera):
            for seen in find_tags(frame.image, (_CUBE,)):
                if seen.id in owner:
                    device, tag = owner[seen.id]
                    found[device].append((frame.t_ns, tag, seen.corners_px))
        for device, rows in found.items():
            stamps = np.array([t for t, _, _ in rows], np.int64)
            corners = np.array([px for _, _, px in rows]).reshape(-1, 4, 2)
            tags = [tag for _, tag, _ in rows]
            out[device].append(Sightings(mount, mount.dt_imu_cam_s + off_s, stamps, tags, corners))
    return out


def tool_on_imu(rig: Rig, device: str) -> Array | None:
    """(4, 4) tool frame of a gripper on its IMU; None where rig.json does not say."""
    gripper, mount = rig.grippers.get(device), rig.cameras.get(device)
    if gripper is None or gripper.T_cam_tcp is None or mount is None:
        return None
    return mount.T_imu_cam @ gripper.T_cam_tcp


def _bodies(
    recording: Recording, devices: Mapping[str, Reconstruction], tied: Tied | None, params: ReconstructParams
) -> tuple[dict[str, BodyResult], dict[str, dict[str, float]]]:
    bodies: dict[str, BodyResult] = {}
    numbers: dict[str, dict[str, float]] = {}
    for device, result in devices.items():
        body = body_of(device)
        chain = None if tied is None else tied.chains.get(device)
        T_imu_body = None if device == "head" else tool_on_imu(recording.rig, device)
        if tied is None or chain is None or (device != "head" and T_imu_body is None):
            continue
        jaw = None
        numbers[body] = dict(tied.numbers.get(device, {}))
        if device != "head":
            camera = recording.cameras[device]
            jaw = jaw_width(
                recording.frames(camera),
                chain.camera_t_ns,
                chain.dt_imu_cam_s,
                recording.rig.cameras[camera].camera,
                recording.rig.grippers[device],
                recording.jaw(device),
                params.jaw,
            )
            numbers[body] |= jaw.numbers
        of_body, spans_ok_s = result.judgement.verdict, result.judgement.spans_ok_s
        if result.chain is None:  # its tags alone placed it
            of_body, spans_ok_s = ("ok" if chain.tracked.all() else "partial"), _spans(chain, params)
        bodies[body] = BodyResult(
            of_body,
            spans_ok_s,
            chain.pictures(body, T_imu_body),
            chain.samples(f"{body}_imu", T_imu_body),
            _relative_sigma(chain, T_imu_body),
            jaw,
        )
    return bodies, numbers


def _relative_sigma(chain: Chain, T_imu_body: Array | None) -> tuple[float | None, float | None]:
    if T_imu_body is None:
        return verdict.relative_sigma_1s(chain.states, chain.joint)
    A = adjoint(inverse(T_imu_body))
    states = replace(chain.states, T_world_imu=chain.states.T_world_imu @ T_imu_body)
    cov = np.einsum("ab,ibjc,dc->iajd", A, chain.joint.cov, A, optimize=True)
    return verdict.relative_sigma_1s(states, PoseUncertainty(cov, chain.joint.dt_step_s, chain.joint.dt_sigma_s))


def _judged(
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
    causes: list[Cause] = []
    lost: list[str] = []
    spans: list[tuple[int, int]] | None = None
    for device, result in devices.items():
        body = body_of(device)
        chain = None if tied is None else tied.chains.get(device)
        own = result.judgement.causes
        if chain is None or body not in bodies:
            causes += [*own, *_why_lost(recording, device, tied, params)]
            lost.append(device)
            continue
        if result.chain is not None:
            causes += own
        else:
            causes += [cause for cause in own if cause.code not in _HARMLESS]
            causes += [replace(cause, body=body) for cause in _interruptions(chain, params)]
        jaw = bodies[body].jaw
        if jaw is not None:
            causes += [replace(cause, body=body) for cause in jaw.causes]
        good = _absolute(bodies[body].spans_ok_s, chain.t_ns)
        if spans is None:
            spans = good
        elif result.chain is not None or not _rests(chain):  # one that lies still spoils nothing, seen or not
            spans = _common(spans, good)
    for device, cause in recording.missing.items():
        causes.append(replace(cause, body=body_of(device)))
        lost.append(device)
    grippers = [d for d in [*devices, *recording.missing] if d != "head"]
    origin = devices[first].chain
    least_ns = params.verdict.shortest_span_s * 1e9
    good = [(a, b) for a, b in spans or [] if b - a >= least_ns]
    if origin is None or not good or (grippers and all(d in lost for d in grippers)):
        return Whole("refused", tuple(causes), (), devices, {}, numbers, wall)
    t0 = int(origin.t_ns[0])
    spans_ok_s = tuple((float(seconds(a, t0)), float(seconds(b, t0))) for a, b in good)
    length_s = float(seconds(origin.t_ns[-1], t0))
    whole = not causes and all(r.chain is None or r.judgement.verdict == "ok" for r in devices.values())
    whole &= sum(b - a for a, b in spans_ok_s) > length_s - _EDGE_S
    return Whole("ok" if whole else "partial", tuple(causes), spans_ok_s, devices, bodies, numbers, wall)


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


def _spans(chain: Chain, params: ReconstructParams) -> Spans:
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


def _absolute(spans_s: Spans, t_ns: Stamps) -> list[tuple[int, int]]:
    return [(int(t_ns[0] + round(a * 1e9)), int(t_ns[0] + round(b * 1e9))) for a, b in spans_s]


def _common(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What lies in a span of both."""
    pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(a, b) for a, b in pairs if a < b]
