"""What a take on disk holds of its rig, ready to be reconstructed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap.causes import Cause
from handcap.clock import seconds
from handcap.errors import ReconstructionError, RigError
from handcap.measure.timed_pictures import TimedPictures
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.rig_take import Recording, Whole
from handcap.reconstruct.session_map import Earlier
from handcap.session import Session, Take
from handcap.types import SIDES, Frame, MountedCamera

_MOST_AMBIGUOUS = 0.02  # of a camera's pictures: one is left out beside each that was lost, and 1 % may be lost
_MOST_UNDECODABLE = 0.01  # of a camera's pictures
_HEAD_CAMERAS = ("head", "head_left", "head_right")  # the one to follow, in this order


def recorded(session: Session, take: Take, every: int = 1, share: bool = True) -> Recording:
    """What the take holds of the rig, one of `every` so many pictures of each camera; with earlier takes, if `share`.

    Raises ReconstructionError when that is nothing to begin with.
    """
    rig = session.rig
    cameras: dict[str, str] = {}
    missing: dict[str, Cause] = {}
    heads = [c for c in _HEAD_CAMERAS if c in rig.cameras]
    for device, wanted in (("head", heads), *((side, [side]) for side in SIDES if side in rig.cameras)):
        there = [c for c in wanted if c in take.cameras]
        if there and rig.cameras[there[0]].device in take.devices:
            cameras[rig.cameras[there[0]].device] = there[0]
        elif there:
            missing[device] = Cause("imu_slow", measured=0.0, limit=VerdictParams().min_imu_rate_hz)
        elif device in take.devices and wanted:
            missing[device] = Cause("no_pictures", measured=0.0, limit=float(VerdictParams().min_pictures))
    if not cameras:
        raise _nothing_to_follow(session, take, missing)
    timed = {camera: TimedPictures(take, camera) for camera in take.cameras if camera in rig.cameras}
    rig = replace(rig, cameras={c: _as_timed(mount, timed.get(c)) for c, mount in rig.cameras.items()})
    return Recording(
        rig,
        cameras,
        take.cameras,
        lambda camera: timed[camera].stamps[::every],
        lambda camera, of=1, only=None: _of_size(
            timed[camera].frames(True, every * of, only), rig.cameras[camera], session.path
        ),
        take.imu,
        take.jaw,
        missing,
        lambda camera, of=1, only=None: _of_size(
            timed[camera].frames(False, every * of, only), rig.cameras[camera], session.path
        ),
        earlier=Earlier(session, take.id) if share else None,
        timed=timed,
        all_pictures=(lambda: recorded(session, take, 1, share)) if every > 1 else None,
    )


def _as_timed(mount: MountedCamera, timed: TimedPictures | None) -> MountedCamera:
    """A triggered camera whose pulses nobody can tell has stamps of another kind than those of its calibration."""
    untied = timed is not None and timed.match is not None and not timed.exposed
    return replace(mount, dt_sigma_s=None) if untied else mount


def with_doubts(whole: Whole, recording: Recording, take: Take, undecodable: Mapping[str, int]) -> Whole:
    """The same, with what is not certain about when pictures and samples were taken.

    Args:
        undecodable: pictures of each camera that could not be read.
    """
    out: list[Cause] = []
    good_until_s = np.inf
    start_ns = min(int(recording.stamps(camera)[0]) for camera in recording.cameras.values())
    for device in take.devices:
        for jump in take.clock_jumps(device):
            off_ns = np.array([jump.first_ns, jump.last_ns]) - jump.by_ns
            begin_s, end_s = np.maximum(seconds(off_ns, start_ns), 0.0).tolist()
            code = "clock_set_back" if jump.stayed else "clock_mended"
            out.append(Cause(code, device, (begin_s, end_s), 1e-6 * abs(jump.by_ns)))
            if jump.stayed and len(take.devices) > 1:  # which side agrees with the other devices' clocks nobody knows
                good_until_s = min(good_until_s, begin_s)
    for camera, timed in recording.timed.items():
        match = timed.match
        if match is not None and not timed.exposed:
            out.append(Cause("trigger_unmatched", camera))
        elif match is not None and match.ambiguous > _MOST_AMBIGUOUS * match.pictures:
            share = 100 * match.ambiguous / match.pictures
            out.append(Cause("pictures_ambiguous", camera, measured=share, limit=100 * _MOST_AMBIGUOUS))
    for camera in recording.cameras.values():
        bad, of = undecodable.get(camera, 0), len(take.camera_stamps(camera))
        if bad > _MOST_UNDECODABLE * of:
            share = 100 * bad / max(of, 1)
            out.append(Cause("pictures_undecodable", camera, None, share, 100 * _MOST_UNDECODABLE))
    if not out:
        return whole
    spans = tuple((a, min(b, good_until_s)) for a, b in whole.spans_ok_s if a < good_until_s)
    told = replace(whole, causes=(*whole.causes, *out), spans_ok_s=spans)
    if whole.verdict == "ok":
        told = replace(told, verdict="partial")
    return replace(told, verdict="refused") if whole.spans_ok_s and not spans else told


def _nothing_to_follow(session: Session, take: Take, missing: Mapping[str, Cause]) -> ReconstructionError:
    device = next((device for device, cause in missing.items() if cause.code == "imu_slow"), None)
    if device is not None:
        return ReconstructionError(
            f"take {take.id} holds no motion-sensor samples of device {device!r}",
            where=session.path,
            mend="record or import it again with the IMU connected",
            cause=Cause("no_imu", f"imu_{device}"),
        )
    if take.cameras:
        return ReconstructionError(
            f"take {take.id} has no camera that the rig knows "
            f"(recorded: {', '.join(take.cameras)}; in rig.json: {', '.join(session.rig.cameras) or 'none'})",
            where=session.path,
            mend="give the calibration of the recorded camera with --rig",
            cause=Cause("no_known_camera"),
        )
    again = f"copy raw/{take.id} again from the recorder"
    if any((session.path / "raw" / take.id).glob("*.part")):
        again += f", or save what is left with `handcap recover {session.path}`"
    if take.damage:
        files = ", ".join(dict.fromkeys(damage.file for damage in take.damage))
        return ReconstructionError(
            f"the recording of take {take.id} is damaged, and no picture in it can be read ({files})",
            where=session.path,
            mend=f"{again}; if it is the same there, record it again",
            cause=Cause("recording_unreadable"),
        )
    if take.devices:
        return ReconstructionError(
            f"take {take.id} holds no pictures, only samples of motion sensors",
            where=session.path,
            mend="check the camera's cable, then record or import it again",
            cause=Cause("no_pictures", measured=0.0, limit=float(VerdictParams().min_pictures)),
        )
    return ReconstructionError(
        f"the recording of take {take.id} is empty",
        where=session.path,
        mend=f"{again}; if nothing was recorded, remove raw/{take.id}",
        cause=Cause("recording_empty"),
    )


def _of_size(frames: Iterator[Frame], mount: MountedCamera, where: Path) -> Iterator[Frame]:
    """The same pictures, each as large as the calibration says. Raises RigError."""
    wanted = (mount.camera.height, mount.camera.width)
    for frame in frames:
        if frame.image.shape[:2] != wanted:
            height, width = frame.image.shape[:2]
            raise RigError(
                f"the pictures of camera {frame.camera!r} are {width}×{height}, "
                f"but rig.json calibrates {wanted[1]}×{wanted[0]}",
                where=where,
                mend="use the calibration of this camera at this resolution (--rig)",
            )
        yield frame
