"""One take of a whole rig: every device from its own camera and IMU, tied in one world, judged as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from handcap.clock import seconds
from handcap.geometry import Array, adjoint, inverse
from handcap.reconstruct import verdict
from handcap.reconstruct.carried import carried
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.cubes import CUBE, CubeLook, looking_for_cubes
from handcap.reconstruct.eyes import Eye
from handcap.reconstruct.hands import find_hands, judged_hands
from handcap.reconstruct.jaw import JawWidth, jaw_width
from handcap.reconstruct.judged import judged, tracked_spans, with_hands
from handcap.reconstruct.pipeline import reconstruct_take
from handcap.reconstruct.result import Progress, Reconstruction, ReconstructParams
from handcap.reconstruct.rig_take import BodyResult, Recording, Whole, body_of, tool_on_imu
from handcap.reconstruct.shared import placed_by_room
from handcap.reconstruct.sightings import Sightings, TieParams
from handcap.reconstruct.tie import Tied, tie
from handcap.reconstruct.uncertainty import PoseUncertainty
from handcap.types import SIDES, Gripper, Side, Tag, Trajectory


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
    with (
        threadpool_limits(1, "blas"),
        looking_for_cubes(recording, params.tie.every, params.tie.cameras, ahead=solve is not None) as cubes,
    ):
        devices = (solve or one_by_one)(lambda what, share: on_progress(what, 0.9 * share))
        return _reconstructed(recording, devices, cubes, params, on_progress)


def solve_device(
    recording: Recording, device: str, params: ReconstructParams, on_progress: Progress = lambda what, share: None
) -> Reconstruction:
    """One device by itself, in its own world; from every picture where some of them do not do."""
    every = recording.all_pictures
    if every is not None and _gaps(recording, device, params) and not _gaps(whole := every(), device, params):
        return _solved(whole, device, params, on_progress)
    result = _solved(recording, device, params, on_progress)
    if result.chain is not None or every is None:
        return result
    return _solved(every(), device, params, on_progress)


def _gaps(recording: Recording, device: str, params: ReconstructParams) -> bool:
    """Whether pictures of the camera to follow come farther apart than is bridged."""
    return len(verdict.picture_gaps(recording.stamps(recording.cameras[device]), params.verdict.longest_bridge_s)) > 0


def _solved(recording: Recording, device: str, params: ReconstructParams, on_progress: Progress) -> Reconstruction:
    of = "" if device == "head" else f" of the {device} gripper"
    camera = recording.cameras[device]
    earlier, first = recording.earlier, device == next(iter(recording.cameras))
    return reconstruct_take(
        [_eye(recording, each) for each in (camera, *recording.others(device))],
        recording.imu(device),
        recording.rig.devices[device],
        params,
        lambda what, share: on_progress(what + of, share),
        body_of(device),
        earlier.clock_prior(camera, recording.rig.cameras[camera], params.session_map) if earlier else None,
        (lambda: earlier.takes) if earlier and first else (lambda: ()),
    )


def _eye(recording: Recording, camera: str) -> Eye:
    return Eye(
        camera,
        recording.rig.cameras[camera],
        recording.stamps(camera),
        lambda only=None: recording.frames(camera, only=only),
    )


def _reconstructed(
    recording: Recording,
    devices: Mapping[str, Reconstruction],
    cubes: CubeLook,
    params: ReconstructParams,
    on_progress: Progress,
) -> Whole:
    recording = _as_worn(recording, devices)
    wall = {f"{device}: {step}": s for device, result in devices.items() for step, s in result.seconds.items()}
    on_progress("tying the devices together", 0.92)
    start = time.perf_counter()
    tied = _tie(recording, devices, cubes, params)
    wall["tying"] = time.perf_counter() - start
    devices = _regained(devices, tied, params)
    start = time.perf_counter()
    bodies, numbers = _bodies(recording, devices, tied, params)
    wall["jaws"] = time.perf_counter() - start
    whole = judged(recording, devices, tied, bodies, numbers, wall, params)
    start = time.perf_counter()
    whole = _bare_hands(recording, whole, tied, params, on_progress)
    wall["hands"] = time.perf_counter() - start
    return whole


def _regained(
    devices: Mapping[str, Reconstruction], tied: Tied | None, params: ReconstructParams
) -> Mapping[str, Reconstruction]:
    """With grippers placed by their tags where their own cameras were lost."""
    out = dict(devices)
    for device, result in devices.items():
        chain = None if tied is None else tied.chains.get(device)
        if chain is None or result.chain is None:
            continue
        again = chain.tracked & ~result.chain.tracked
        if again.any():
            t_s = seconds(chain.camera_t_ns, int(chain.camera_t_ns[0]))
            out[device] = replace(result, judgement=result.judgement.regained(again, t_s, params.verdict))
    return out


def _as_worn(recording: Recording, devices: Mapping[str, Reconstruction]) -> Recording:
    """The recording of the rig as it was worn: cameras that have moved on it are where they are now, and those that do
    not see what they should are not looked at.

    A tool stays where it was calibrated on its device; it is the camera that moved.
    """
    moved = {camera: mount for result in devices.values() for camera, mount in result.mounts.items()}
    rig = recording.rig
    grippers = dict(rig.grippers)
    for side, gripper in rig.grippers.items():
        if side in moved and gripper.T_cam_tcp is not None:
            T_new_old = inverse(moved[side].T_imu_cam) @ rig.cameras[side].T_imu_cam
            grippers[side] = replace(gripper, T_cam_tcp=T_new_old @ gripper.T_cam_tcp)
    unfit = {camera for result in devices.values() for camera in result.unfit}
    usable = [camera for camera in recording.recorded if camera not in unfit]
    return replace(recording, recorded=usable, rig=replace(rig, cameras={**rig.cameras, **moved}, grippers=grippers))


def _bare_hands(
    recording: Recording,
    whole: Whole,
    tied: Tied | None,
    params: ReconstructParams,
    on_progress: Progress,
) -> Whole:
    """With the hands that hold no gripper; none without a head. Raises ModelError without the network's weights."""
    rig = recording.rig
    sides: list[Side] = [side for side in SIDES if side not in rig.grippers]
    if not params.hands.on or recording.colour is None or not sides or tied is None or "head" not in whole.bodies:
        return whole
    from handcap.reconstruct.hands.mediapipe_detector import MediapipeDetector

    followed = recording.cameras["head"]
    mounts = {camera: rig.cameras[camera] for camera in [followed, *recording.others("head")]}
    on_progress("looking for bare hands", 0.95)
    with MediapipeDetector() as detector:
        chain, worn = tied.chains["head"], recording.worn
        found = find_hands(recording.colour, mounts, chain, sides, detector, params.hands, worn)
    return with_hands(whole, found, judged_hands(found, chain, sides, params.hands.limits))


def _tie(
    recording: Recording, devices: Mapping[str, Reconstruction], cubes: CubeLook, params: ReconstructParams
) -> Tied | None:
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
    held = {d: recording.rig.grippers[d] for d in tools}
    # One that its tags alone will place has no pose where they are not looked for.
    look = params.tie if all(d in chains for d in tools) else replace(params.tie, every=1, cameras=TieParams().cameras)
    sightings = _sightings(recording, devices[first], held, cubes, look)
    tied = tie(anchor, {d: chains[d] for d in tools if d in chains}, sightings, tools, params.tie)
    for device, T_imu_tcp in tools.items():
        if device in tied.chains:
            continue
        seen = sum(len(s) for s in sightings.get(device, ()))
        if seen < params.tie.least_sightings and (shared := _by_room(devices[device], devices[first])) is not None:
            chain, shares = shared
            numbers = {**tied.numbers, device: {"tag_sightings": float(seen), **shares}}
            tied = replace(tied, chains={**tied.chains, device: chain}, numbers=numbers)
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
        if found is None:
            tied = replace(tied, unseen={**tied.unseen, device: seen})
        else:
            numbers = {**tied.numbers, device: {"tag_sightings": float(seen), "by_tags_alone": 1.0}}
            tied = replace(tied, chains={**tied.chains, device: found}, numbers=numbers)
    return tied


def _by_room(gripper: Reconstruction, head: Reconstruction) -> tuple[Chain, dict[str, float]] | None:
    """A gripper where its own camera finds itself in the room that the head knows; not in a quick pass."""
    if gripper.chain is None or gripper.room is None or head.chain is None or head.room is None:
        return None
    return placed_by_room(gripper.chain, gripper.room, head.chain, head.room)


def _sightings(
    recording: Recording,
    head: Reconstruction,
    grippers: Mapping[str, Gripper],
    cubes: CubeLook,
    params: TieParams,
) -> dict[str, list[Sightings]]:
    """Every gripper's tags in the cameras of the head."""
    rig = recording.rig
    followed = rig.cameras[recording.cameras["head"]] if "head" in recording.cameras else None
    if not grippers or followed is None or head.time_offset_s is None:
        return {}
    # Cameras of one device share its trigger: what the offset of the one is off by, that of the other is.
    off_s = head.time_offset_s - followed.dt_imu_cam_s
    owner: dict[int, tuple[str, Tag]] = {}
    for device, gripper in grippers.items():
        owner |= {tag.id: (device, tag) for tag in gripper.tags if tag.body == "tcp" and tag.family == CUBE}
    out: dict[str, list[Sightings]] = {device: [] for device in grippers}
    seers = [c for c, mount in rig.cameras.items() if mount.device == "head" and c in recording.recorded]
    for camera in seers[: params.cameras]:
        mount = rig.cameras[camera]
        found: dict[str, list[tuple[int, Tag, Array]]] = {device: [] for device in grippers}
        for t_ns, tags in cubes(camera, mount.camera, params.every):
            for seen in tags:
                if seen.id in owner:
                    device, tag = owner[seen.id]
                    found[device].append((t_ns, tag, seen.corners_px))
        for device, rows in found.items():
            stamps = np.array([t for t, _, _ in rows], np.int64)
            corners = np.array([px for _, _, px in rows]).reshape(-1, 4, 2)
            tags = [tag for _, tag, _ in rows]
            out[device].append(Sightings(mount, mount.dt_imu_cam_s + off_s, stamps, tags, corners))
    return out


def _bodies(
    recording: Recording, devices: Mapping[str, Reconstruction], tied: Tied | None, params: ReconstructParams
) -> tuple[dict[str, BodyResult], dict[str, dict[str, float]]]:
    bodies: dict[str, BodyResult] = {}
    numbers: dict[str, dict[str, float]] = {}
    if tied is None:
        return bodies, numbers
    tools = {device: None if device == "head" else tool_on_imu(recording.rig, device) for device in devices}
    held = [d for d in devices if d in tied.chains and (d == "head" or tools[d] is not None)]
    jaws = _jaws(recording, {d: tied.chains[d] for d in held if d != "head"}, params)
    for device in held:
        body, chain, T_imu_body, result = body_of(device), tied.chains[device], tools[device], devices[device]
        jaw = jaws.get(device)
        numbers[body] = {**tied.numbers.get(device, {}), **({} if jaw is None else jaw.numbers)}
        of_body, spans_ok_s = result.judgement.verdict, result.judgement.spans_ok_s
        if result.chain is None:  # its tags alone placed it
            of_body, spans_ok_s = ("ok" if chain.tracked.all() else "partial"), tracked_spans(chain, params)
        poses = chain.pictures(body, T_imu_body)
        numbers[body]["expected_error_m"] = _expected_error_m(poses)
        bodies[body] = BodyResult(
            of_body,
            spans_ok_s,
            poses,
            chain.samples(f"{body}_imu", T_imu_body),
            _relative_sigma(chain, T_imu_body),
            jaw,
        )
    return bodies, numbers


def _jaws(recording: Recording, chains: Mapping[str, Chain], params: ReconstructParams) -> dict[str, JawWidth]:
    """Jaws of the grippers whose chains these are, looked at beside each other."""

    def jaw(device: str) -> JawWidth:
        camera = recording.cameras[device]
        return jaw_width(
            recording.frames(camera, params.jaw.every),
            chains[device].camera_t_ns,
            chains[device].dt_imu_cam_s,
            recording.rig.cameras[camera].camera,
            recording.rig.grippers[device],
            recording.jaw(device),
            params.jaw,
        )

    with ThreadPoolExecutor(max(len(chains), 1)) as pool:
        return dict(zip(chains, pool.map(jaw, chains), strict=True))


def _expected_error_m(poses: Trajectory) -> float:
    """Root mean square length of the position error that the covariance tells, over all tracked pictures."""
    return float(np.sqrt(np.nanmean(np.trace(poses.cov[:, 3:, 3:], axis1=1, axis2=2))))


def _relative_sigma(chain: Chain, T_imu_body: Array | None) -> tuple[float | None, float | None]:
    if T_imu_body is None:
        return verdict.relative_sigma_1s(chain.states, chain.joint)
    A = adjoint(inverse(T_imu_body))
    states = replace(chain.states, T_world_imu=chain.states.T_world_imu @ T_imu_body)
    cov = np.einsum("ab,ibjc,dc->iajd", A, chain.joint.cov, A, optimize=True)
    return verdict.relative_sigma_1s(states, PoseUncertainty(cov, chain.joint.dt_step_s, chain.joint.dt_sigma_s))
