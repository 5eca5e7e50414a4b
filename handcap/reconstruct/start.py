"""Where every keyframe is, roughly: a first stretch from its own pictures, or from the room of an earlier take, and the
rest grown from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import gtsam
import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import to_imu_clock
from handcap.geometry import Array
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct import bundle, landmarks, sfm, sync
from handcap.reconstruct.align import align, as_placed
from handcap.reconstruct.extend import extend
from handcap.reconstruct.eyes import Eye
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.keyframes import halves, starting_windows
from handcap.reconstruct.limits import Refused
from handcap.reconstruct.relocalise import placed_by, relocalise, up_in_start
from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.run_log import RunLog
from handcap.reconstruct.session_map import ROOM_FILE, EarlierTake
from handcap.types import Device, ImuSamples


@dataclass(frozen=True, eq=False, slots=True)
class Started:
    """States of all keyframes, the clock's offset, and what holds them in the room of an earlier take, if any does."""

    states: States
    fine: sync.FineSync
    placed: Sequence[gtsam.NonlinearFactor] = ()


class Starter:
    """Starts one device's take.

    Args:
        key_tracks, seen: of the keyframes alone, and what they see.
        coarse: offset and gyroscope's bias so far.
        R_start_cam: (n, 3, 3) of each keyframe, by the gyroscope, from where it began.
    """

    def __init__(
        self,
        eye: Eye,
        imu: ImuSamples,
        device: Device,
        params: ReconstructParams,
        log: RunLog,
        key_tracks: Tracks,
        seen: landmarks.Observations,
        coarse: sync.CoarseSync,
        R_start_cam: Array,
    ) -> None:
        self._pictures, self._mount, self._imu, self._params, self._log = eye.pictures, eye.mount, imu, params, log
        self._tracks, self._seen, self._coarse, self._R_start_cam = key_tracks, seen, coarse, R_start_cam
        self._integrator = Preintegrator(imu, device.imu)

    def from_pictures(self) -> Started:
        """From structure from motion over some stretch. Raises Refused."""
        p, tracks, camera = self._params, self._tracks, self._mount.camera
        ray, _ = camera.unproject(tracks.pixel)
        windows = starting_windows(tracks, ray, self._R_start_cam, p.start_keyframes)
        most = unaligned = 0
        windows = windows[: p.start_attempts]
        # Every other keyframe takes a third of the time and mostly does; the rest is found when growing. Where a thing
        # that moves fills the view for a while, another part of the window is without it.
        parts = [part for window in windows for part in halves(window) if len(part) >= 2 * p.least_start]
        for window in [*(window[::2] for window in windows), *windows, *parts]:
            with self._log.step("structure from motion", 0.4):
                poses = sfm.solve(tracks.of_frames(window), camera, p.sfm)
            index = window[poses.keyframe]
            most = max(most, len(index))
            if len(index) < min(p.least_start, len(window) // 2):
                continue
            metric = self._metric(index, poses, in_room=False)
            if metric is None:
                unaligned = max(unaligned, len(index))
                continue
            return Started(*self._grown(index, *metric))
        if unaligned:
            raise Refused(Cause("accel_disagrees", measured=float(unaligned)))
        raise Refused(Cause("no_initialisation", measured=float(most), limit=8.0))

    def in_room(self, rooms: Sequence[EarlierTake]) -> Started:
        """From the keyframes that show the room of an earlier take. Raises Refused."""
        p, most = self._params, 0
        for earlier in rooms[: p.session_map.most_tried]:
            with self._log.step("looking in an earlier take", 0.4):
                poses = self._found_in(earlier)
            index = poses.keyframe
            most = max(most, len(index))
            if len(index) < p.least_start:
                continue
            metric = self._metric(index, poses, in_room=True)
            if metric is not None:
                self._log.numbers.update(held_in_take=earlier.id, held_in_sha256=earlier.sha256[ROOM_FILE])
                placed = placed_by(poses, self._mount.T_imu_cam, p.relocalise)
                return Started(*self._grown(index, *metric), placed)
        raise Refused(Cause("no_initialisation", measured=float(most), limit=8.0))

    def _grown(
        self, index: NDArray[np.int64], states: States, fine: sync.FineSync, sigma_px: float
    ) -> tuple[States, sync.FineSync]:
        """From the keyframes `index` to all."""
        self._log.numbers["start_keyframes"] = len(index)
        with self._log.step("growing", 0.55):
            grown = extend(
                states,
                index,
                to_imu_clock(self._tracks.camera_t_ns, fine.dt_imu_cam_s),
                self._seen,
                self._mount.camera,
                self._mount.T_imu_cam,
                self._integrator,
                sigma_px,
                self._params.extend,
                lambda share: self._log.on_progress("growing", 0.55 + 0.15 * share),
            )
        return grown, fine

    def _found_in(self, earlier: EarlierTake) -> sfm.SfmPoses:
        """Keyframes that show the room of an earlier take, and their poses in its world."""
        number = {int(t_ns): k for k, t_ns in enumerate(self._tracks.camera_t_ns)}
        gyro = GyroRotation(self._imu, self._coarse.gyro_bias)
        return relocalise(
            ((number[f.t_ns], f.image) for f in self._pictures(number)),
            self._seen,
            self._R_start_cam,
            up_in_start(self._imu.accel_imu, gyro.at(self._imu.t_ns).as_matrix()),
            self._mount.camera,
            earlier.room,
            self._params.merge,
            self._params.relocalise,
        )

    def _metric(
        self, index: NDArray[np.int64], poses: sfm.SfmPoses, in_room: bool
    ) -> tuple[States, sync.FineSync, float] | None:
        """The keyframes `index` with gravity and scale, the offset, and sigma, px; None if there is none.

        Raises Refused.
        """
        T_imu_cam, fine = self._mount.T_imu_cam, self._fine_offset(index, poses)
        with self._log.step("aligning", 0.5):
            t_ns = to_imu_clock(self._tracks.camera_t_ns[index], fine.dt_imu_cam_s)
            known = (t_ns, poses.R_anchor_cam, poses.p_anchor, T_imu_cam, fine.gyro_bias)
            start = as_placed(*known) if in_room else align(*known, self._integrator, self._params.align)
        if start is None:
            return None
        self._log.numbers["aligned_gravity_m_s2"] = start.gravity_norm
        placed = placed_by(poses, T_imu_cam, self._params.relocalise, True) if in_room else ()
        with self._log.step("first bundle adjustment", 0.52):
            adjusted = self._adjusted(index, start.states, placed)
        return None if adjusted is None else (adjusted[0], fine, adjusted[1])

    def _fine_offset(self, index: NDArray[np.int64], poses: sfm.SfmPoses) -> sync.FineSync:
        """The clock's offset from the poses' turning. Raises Refused where camera and gyroscope turn otherwise."""
        coarse, R_imu_cam = self._coarse, self._mount.T_imu_cam[:3, :3]
        with self._log.step("aligning", 0.5):
            stamps = self._tracks.camera_t_ns[index]
            fine = sync.refine_offset(stamps, poses.R_anchor_cam, self._imu, R_imu_cam, coarse)
        if abs(fine.dt_imu_cam_s - coarse.dt_imu_cam_s) > max(0.02, 5 * coarse.sigma_s):
            fine = replace(fine, dt_imu_cam_s=coarse.dt_imu_cam_s, gyro_bias=coarse.gyro_bias)
        limit = np.deg2rad(self._params.verdict.max_rotation_error_deg)
        if fine.correction_rad > limit and fine.correction_rad > 4 * fine.correction_sigma_rad:
            measured = float(np.rad2deg(fine.correction_rad))
            raise Refused(Cause("camera_imu_rotation", measured=measured, limit=float(np.rad2deg(limit))))
        return fine

    def _adjusted(
        self, index: NDArray[np.int64], states: States, placed: Sequence[gtsam.NonlinearFactor]
    ) -> tuple[States, float] | None:
        """A first bundle adjustment of the keyframes `index`; None where too little agrees."""
        T_imu_cam, camera = self._mount.T_imu_cam, self._mount.camera
        position = np.full(len(self._tracks.camera_t_ns), -1)
        position[index] = np.arange(len(index))
        local = replace(self._seen, keyframe=position[self._seen.keyframe])
        local = local.where(local.keyframe >= 0)
        sigma_px = 1.0
        for _ in range(2):
            kept, _, _, sigma_px = landmarks.gate(local, states.T_world_imu @ T_imu_cam, camera, self._params.gate)
            if len(kept) < 8 * len(index):
                return None
            states = bundle.optimise(
                states, kept, camera, T_imu_cam, self._integrator, max(sigma_px, 0.3),
                params=self._params.bundle, placed=placed,
            ).states  # fmt: skip
        return states, sigma_px
