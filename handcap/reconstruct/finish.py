"""From the best states of all keyframes to what is told of the take: every picture's pose, the map, the verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import nanoseconds, seconds, to_imu_clock
from handcap.geometry import Array, yaw_rotation
from handcap.reconstruct import landmarks, sync, uncertainty, verdict
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.eyes import Eye
from handcap.reconstruct.frontend import Tracks
from handcap.reconstruct.inertial import States
from handcap.reconstruct.refinement import Optimum, Refinement
from handcap.reconstruct.result import MapPoints, Reconstruction, ReconstructParams, Residuals
from handcap.reconstruct.run_log import RunLog
from handcap.reconstruct.verdict import Judgement
from handcap.types import ImuSamples


@dataclass(frozen=True, eq=False, slots=True)
class Finish:
    """The end of one device's take.

    Attributes:
        body: what the causes call it.
        eye: the camera whose pictures are placed.
        turns, tracks: of all pictures; key_tracks: of the keyframes.
        held: whether the room of an earlier take holds it.
    """

    body: str
    eye: Eye
    imu: ImuSamples
    params: ReconstructParams
    log: RunLog
    turns: sync.VisualTurns
    tracks: Tracks
    key_tracks: Tracks
    held: bool

    def told(self, better: Refinement, best: Optimum) -> Reconstruction:
        """What became of it."""
        offset_s, joint = best.offset_s, best.joint
        views = landmarks.views(best.seen, len(best.states))
        first = int(np.argmax(views >= self.params.verdict.min_marks))
        T_gauge = _gauge(best.states.T_world_imu[first], self.eye.mount.T_imu_cam)
        states = best.states.moved(T_gauge)
        if self.held:
            joint = uncertainty.regauged(joint, states.T_world_imu, first)
        judgement = self._judged(states, best, views, joint, bool(better.slipped))
        start_ns = int(to_imu_clock(self.tracks.camera_t_ns[:1], offset_s)[0])
        judgement = judgement.with_doubts([*better.mount_causes(start_ns), *self._offset_causes(best)])
        for slip in better.slipped.values():
            judgement = judgement.until(float(seconds(slip.start_ns, start_ns)), self.params.verdict)
        if judgement.verdict == "refused":
            return Reconstruction(
                self.body, judgement, offset_s, joint.dt_sigma_s, (None, None), seconds=self.log.seconds
            )
        shift = int(states.t_ns[0]) - int(to_imu_clock(self.key_tracks.camera_t_ns[:1], offset_s)[0])
        states = states.shifted(-shift)  # rounding of the offset's steps, in ns
        chain = Chain(states, joint, self.imu, better.noise, self.tracks.camera_t_ns, offset_s, judgement.tracked)
        points = MapPoints(
            best.marks.p_world @ T_gauge[:3, :3].T + T_gauge[:3, 3],
            np.bincount(np.searchsorted(best.marks.track, best.seen.track), minlength=len(best.marks.track)),
            best.marks.track,
        )
        followed = best.seen.camera == 0
        shown = best.seen.where(followed)
        room = better.looks and better.looks.room(
            shown,
            replace(best.marks, p_world=points.p_world),
            states.T_world_imu @ better.eyes.eyes[0].mount.T_imu_cam,
            self.key_tracks.camera_t_ns,
            self.log.numbers["pixel_sigma_px"] * float(np.sqrt(self.log.numbers["pixel_variance_factor"])),
            self.params.room.held_scale_sigma if self.held else self.log.numbers["scale_sigma"],
        )
        residuals = Residuals(
            self.key_tracks.camera_t_ns[shown.keyframe], shown.recorded_px, best.residual[followed], shown.track
        )
        return Reconstruction(
            self.body,
            judgement,
            offset_s,
            joint.dt_sigma_s,
            verdict.relative_sigma_1s(states, joint),
            chain,
            points,
            residuals,
            room,
            self.log.seconds,
            {better.eyes.eyes[c].name: better.eyes.eyes[c].mount for c in better.corrected},
            tuple(better.unfit),
        )

    def _offset_causes(self, best: Optimum) -> list[Cause]:
        """What to say of a clock offset that is not the calibrated one."""
        stated_s = self.eye.mount.dt_sigma_s
        if not stated_s:  # nobody knows a clock exactly: a zero says that nobody measured it
            return []
        off_s, limit_s = abs(best.offset_s - self.eye.mount.dt_imu_cam_s), 3 * np.hypot(stated_s, best.joint.dt_sigma_s)
        if off_s <= max(limit_s, self.params.verdict.least_offset_ms / 1e3):
            return []
        return [Cause("offset_moved", self.eye.name, measured=1e3 * off_s, limit=1e3 * float(limit_s))]

    def _judged(
        self,
        states: States,
        best: Optimum,
        views: NDArray[np.int64],
        joint: uncertainty.PoseUncertainty,
        slipped: bool,
    ) -> Judgement:
        residual_rms = float(np.sqrt(np.mean(best.residual**2))) if len(best.residual) else float("inf")
        position_sigma = np.sqrt(np.trace(joint.cov[:, 3:, :, 3:].diagonal(0, 0, 2), axis1=0, axis2=1))
        self.log.numbers.update(
            {
                "keyframes_registered": int((views >= self.params.verdict.min_marks).sum()),
                "reprojection_rms_px": residual_rms,
                "gyro_bias_rad_s": states.gyro_bias.mean(axis=0).tolist(),
                "accel_bias_m_s2": states.accel_bias.mean(axis=0).tolist(),
                # Held in a room, a take is as metric as that is, however little it moves.
                "scale_sigma": np.nan if self.held else verdict.scale_sigma(states, joint),
                "position_sigma_max_m": float(position_sigma.max()),
                "path_m": float(np.linalg.norm(np.diff(states.T_world_imu[:, :3, 3], axis=0), axis=1).sum()),
            }
        )
        on_camera_clock = replace(self.imu, t_ns=self.imu.t_ns - nanoseconds(best.offset_s))
        limits = self.params.verdict
        if slipped:  # it is known why sensor and pictures contradict each other
            limits = replace(limits, max_imu_mismatch=np.inf)
        return verdict.judge(
            self.turns, self.tracks.camera_t_ns, self.key_tracks.camera_t_ns, views, position_sigma, joint.dt_sigma_s,
            on_camera_clock, self.log.numbers, limits,
        ).about(self.body)  # fmt: skip


def _gauge(T_now_imu: Array, T_imu_cam: Array) -> Array:
    """T_world_now: origin at this IMU pose, x along the horizontal part of the camera's viewing axis."""
    R_now_cam = T_now_imu[:3, :3] @ T_imu_cam[:3, :3]
    axis = R_now_cam[:2, 2]
    if np.linalg.norm(axis) < 0.05:  # looking straight down or up: the picture's upper edge says where ahead is
        axis = -R_now_cam[:2, 1] * np.sign(-R_now_cam[2, 2] or 1.0)
    out = np.eye(4)
    out[:3, :3] = yaw_rotation(-float(np.arctan2(axis[1], axis[0])))
    out[:3, 3] = -out[:3, :3] @ T_now_imu[:3, 3]
    return out
