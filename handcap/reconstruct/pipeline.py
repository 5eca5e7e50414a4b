"""One device's cameras and IMU to a metric trajectory: the order of the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gtsam
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from handcap.causes import Cause
from handcap.clock import NS_PER_S, nanoseconds, seconds, to_imu_clock
from handcap.geometry import GRAVITY_M_S2, Array, yaw_rotation
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct import bundle, inputs, landmarks, sfm, sync, uncertainty, verdict
from handcap.reconstruct.align import align, as_placed
from handcap.reconstruct.chain import Chain
from handcap.reconstruct.extend import extend
from handcap.reconstruct.eyes import Eye, Eyes
from handcap.reconstruct.frontend import Tracks, rotation_predictor, track
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.keyframes import choose_keyframes, halves, neighbour_parallax, starting_windows
from handcap.reconstruct.limits import Refused
from handcap.reconstruct.refinement import Optimum, Refinement
from handcap.reconstruct.relocalise import placed_by, relocalise, up_in_start
from handcap.reconstruct.result import MapPoints, Progress, Reconstruction, ReconstructParams, Residuals
from handcap.reconstruct.session_map import ROOM_FILE, ClockPrior, EarlierTake
from handcap.reconstruct.shutter import RollingShutter
from handcap.reconstruct.verdict import Judgement
from handcap.types import Device, ImuSamples, Stamps


def reconstruct_take(
    eyes: Sequence[Eye],
    imu: ImuSamples,
    device: Device,
    params: ReconstructParams | None = None,
    on_progress: Progress = lambda what, share: None,
    body: str = "head",
    clock_prior: ClockPrior | None = None,
    rooms: Callable[[], Sequence[EarlierTake]] = lambda: (),
) -> Reconstruction:
    """Reconstruct the motion of one device from its own cameras and IMU.

    Args:
        eyes: its cameras; features are followed in the first, the others join once the points are placed.
        imu: on the session clock.
        device: calibration of the IMU.
        body: what the causes call it.
        clock_prior: what an earlier take says of the first camera's offset.
        rooms: earlier takes to be held in, should it not be solved by itself; asked for only then.
    """
    work = _Work(eyes, imu, device, params or ReconstructParams(), on_progress, body, clock_prior)
    result = _tried(work)
    if _HELPED_BY_A_ROOM & {cause.code for cause in result.judgement.causes} and result.chain is None and rooms():
        again = _Work(eyes, imu, device, work.params, on_progress, body, clock_prior, rooms())
        again.seconds = work.seconds
        held = _tried(again)
        return result if held.chain is None else held
    return result


def _tried(work: _Work) -> Reconstruction:
    body = work.body
    try:
        # Threaded sums depend on the number of cores in their last digits; the results must not.
        with threadpool_limits(1, "blas"):
            return work.run()
    except (Refused, bundle.Unsolvable) as end:
        causes = end.causes if isinstance(end, Refused) else (Cause("unsolvable"),)
        judgement = Judgement("refused", (*work.dark, *causes), (), np.zeros(0, bool), work.numbers)
        judgement = judgement.about(body)
        return Reconstruction(body, judgement, None, None, (None, None), seconds=work.seconds)


# What a take is refused for that sees too little of the room from the side, and an earlier take saw more.
_HELPED_BY_A_ROOM = {"rotation_only", "no_initialisation", "accel_disagrees", "scale_unobservable"}


class _Work:
    """One run over one take: the inputs, the numbers gathered on the way, the steps."""

    def __init__(
        self,
        eyes: Sequence[Eye],
        imu: ImuSamples,
        device: Device,
        params: ReconstructParams,
        on_progress: Progress,
        body: str,
        clock_prior: ClockPrior | None = None,
        rooms: Sequence[EarlierTake] = (),
    ) -> None:
        self.body, self.eyes = body, eyes
        self.pictures, self.imu, self.device, self.mount = eyes[0].pictures, imu, device, eyes[0].mount
        self.params, self.on_progress = params, on_progress
        self.numbers: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.dark: tuple[Cause, ...] = ()  # what to say first of a take that fails for whatever reason
        self.clock_prior = clock_prior
        self.rooms = rooms  # to be held in; without any the take is solved by itself
        self.placed: list[gtsam.NonlinearFactor] = []  # by what the room says

    @contextmanager
    def step(self, name: str, share: float) -> Generator[None]:
        self.on_progress(name, share)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def run(self) -> Reconstruction:
        limits = self.params.verdict
        with self.step("looking at the pictures", 0.0):
            turns = sync.visual_turns(self.pictures(), self.mount.camera, self.params.sync)
            turns = inputs.without_frozen(turns, self.imu, limits)
            self._note_inputs(turns)
            self.dark = inputs.darkness(turns, limits)
            inputs.check_inputs(turns, self.imu, limits)
            inputs.check_sight(turns, limits)
            coarse = self._coarse_offset(turns)
        with self.step("following features", 0.1):
            tracks = self._track(coarse, turns)
        with self.step("choosing keyframes", 0.35):
            key_tracks, seen = self._keyframes(tracks, coarse)
        states, fine = self._start(key_tracks, seen, coarse)
        self._check_clock_prior(fine)
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        eyes = Eyes.at(key_tracks.camera_t_ns, self.eyes, gyro, fine.dt_imu_cam_s, self.params.eyes, self.params.gate)
        better = Refinement(self.imu, self.device, eyes, self.params, self.numbers, self.clock_prior, self.placed)
        with self.step("refining", 0.7):
            best = better.solve(states, seen, fine.dt_imu_cam_s, self.params.first_rounds)
            best = better.with_mounts_checked(best, lambda best: best.seen, self.params.first_rounds)
        if self.params.twice:
            best = self._twice(better, best)
        self._weigh_gravity_again(best)
        with self.step("filling in every picture", 0.95):
            return self._finish(turns, tracks, key_tracks, better, best)

    def _weigh_gravity_again(self, best: Optimum) -> None:
        """Where the start's gravity was wrong, that of the solution counts: the first structure from motion may err."""
        if abs(self.numbers["aligned_gravity_m_s2"] - GRAVITY_M_S2) <= self.params.verdict.max_gravity_error:
            return
        states, T_imu_cam = best.states, self.mount.T_imu_cam
        T_world_cam = states.T_world_imu @ T_imu_cam
        known = (states.t_ns, T_world_cam[:, :3, :3], T_world_cam[:, :3, 3], T_imu_cam, states.gyro_bias.mean(axis=0))
        again = align(*known, Preintegrator(self.imu, self.device.imu), self.params.align)
        if again is not None:
            self.numbers["aligned_gravity_m_s2"] = again.gravity_norm

    def _twice(self, better: Refinement, best: Optimum) -> Optimum:
        """The second solution: tracks joined, looked at anew in all cameras, and their mounts checked."""
        with self.step("joining tracks", 0.8):
            joined = better.joined(best)

        def look(best: Optimum) -> landmarks.Observations:
            with self.step("laying patches", 0.82):
                return better.laid(best, joined)

        rounds, laid = self.params.final_rounds, look(best)
        with self.step("refining again", 0.85):
            best = better.solve(best.states, laid, best.offset_s, rounds)
        with self.step("checking mounts", 0.9):
            best = better.with_mounts_checked(best, look, rounds)
        with self.step("checking halves", 0.93):
            better.check_halves(best)
        return best

    def _note_inputs(self, turns: sync.VisualTurns) -> None:
        t = turns.camera_t_ns
        self.numbers["pictures"] = len(t)
        self.numbers["length_s"] = float((t[-1] - t[0]) / NS_PER_S) if len(t) else 0.0
        self.numbers["imu_samples"] = len(self.imu)

    def _coarse_offset(self, turns: sync.VisualTurns) -> sync.CoarseSync:
        R_imu_cam = self.mount.T_imu_cam[:3, :3]
        nominal = self.mount.dt_imu_cam_s
        found = sync.coarse_offset(turns, self.imu, R_imu_cam, nominal, self.params.sync)
        inputs.check_clock(found, self.params.verdict)
        if found is None or not np.isfinite(found.sigma_s) or found.correlation < self.params.verdict.min_correlation:
            # Too little turning to say: trust the calibration, take the bias from the gyroscope's own mean.
            bias = np.median(self.imu.gyro_imu, axis=0) if found is None else found.gyro_bias
            found = sync.CoarseSync(nominal, self.params.sync.search_s / 10, bias, 1.0, 0.0, 0.0)
        self.numbers["coarse_offset_s"] = found.dt_imu_cam_s
        self.numbers["turn_correlation"] = found.correlation
        self.numbers["clock_drift_ms"] = self._clock_drift_ms(turns, found)
        return found

    def _clock_drift_ms(self, turns: sync.VisualTurns, whole: sync.CoarseSync) -> float:
        """Change of the offset from the take's first half to its second; 0 where it cannot be told from noise."""
        middle = len(turns.camera_t_ns) // 2
        if inputs.has_gaps(self.imu):  # a half with a gap differs from one without
            return 0.0
        halves = [
            sync.coarse_offset(
                half,
                self.imu,
                self.mount.T_imu_cam[:3, :3],
                whole.dt_imu_cam_s,
                replace(self.params.sync, search_s=0.1),
            )
            for half in (turns.part(slice(0, middle)), turns.part(slice(middle, None)))
        ]
        if any(h is None or not np.isfinite(h.sigma_s) or h.correlation < 0.8 for h in halves):
            return 0.0
        first, second = (h for h in halves if h is not None)
        change_s = abs(second.dt_imu_cam_s - first.dt_imu_cam_s)
        return 1e3 * change_s if change_s > 4 * np.hypot(first.sigma_s, second.sigma_s) else 0.0

    def _track(self, coarse: sync.CoarseSync, turns: sync.VisualTurns) -> Tracks:
        count = len(turns.camera_t_ns)
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        predict = rotation_predictor(lambda t: gyro.at(t, coarse.dt_imu_cam_s), self.mount.T_imu_cam[:3, :3])
        return track(
            self.pictures(),
            self.mount.camera,
            predict,
            self.params.frontend,
            turns.lit,
            turns.repeated,
            lambda n: self.on_progress("following features", 0.1 + 0.25 * n / max(count, 1)),
        )

    def _keyframes(self, tracks: Tracks, coarse: sync.CoarseSync) -> tuple[Tracks, landmarks.Observations]:
        """Keyframes within the IMU's span, and what they see. Raises Refused for a camera that did not move."""
        margin = nanoseconds(0.005 + 5 * min(coarse.sigma_s, 0.002))
        t_imu = to_imu_clock(tracks.camera_t_ns, coarse.dt_imu_cam_s)
        start_ns, end_ns = self._imu_stretch(t_imu)
        inside = np.flatnonzero((t_imu >= start_ns + margin) & (t_imu <= end_ns - margin))
        if not len(inside):
            apart_ns = min(abs(int(t_imu[0]) - end_ns), abs(int(t_imu[-1]) - start_ns))
            raise Refused(Cause("no_overlap", measured=apart_ns / 1e9, limit=0.0))
        if len(inside) < self.params.verdict.min_pictures:
            raise Refused(
                Cause("no_pictures", measured=float(len(inside)), limit=float(self.params.verdict.min_pictures))
            )
        chosen = inside[choose_keyframes(tracks.of_frames(inside), self.params.keyframes)]
        recorded = tracks.of_frames(chosen)
        key_tracks = self._shutter(coarse).turned_back(recorded)
        ray, _ = self.mount.camera.unproject(key_tracks.pixel)
        R_start_cam = self._gyro_rotations(key_tracks.camera_t_ns, coarse)
        parallax = neighbour_parallax(key_tracks, ray, R_start_cam, lag=min(8, len(chosen) - 1))
        shift_deg, parallax_deg = inputs.check_motion(key_tracks, ray, R_start_cam, parallax, self.params.verdict)
        self.numbers |= {"keyframes": len(chosen), "view_shift_deg": shift_deg, "parallax_deg": parallax_deg}
        return key_tracks, landmarks.observations(key_tracks, self.mount.camera, recorded.pixel)

    def _shutter(self, coarse: sync.CoarseSync) -> RollingShutter:
        return RollingShutter(self.mount, GyroRotation(self.imu, coarse.gyro_bias), coarse.dt_imu_cam_s)

    def _imu_stretch(self, t_imu: Stamps) -> tuple[int, int]:
        """First and last IMU stamp of the stretch between long gaps that holds the most pictures."""
        gap = np.flatnonzero(np.diff(self.imu.t_ns) > self.params.verdict.imu_split_s * NS_PER_S)
        first, last = self.imu.t_ns[np.r_[0, gap + 1]], self.imu.t_ns[np.r_[gap, len(self.imu) - 1]]
        held = [int(np.sum((t_imu >= a) & (t_imu <= b))) for a, b in zip(first, last, strict=True)]
        best = int(np.argmax(held))
        return int(first[best]), int(last[best])

    def _gyro_rotations(self, camera_t_ns: Stamps, coarse: sync.CoarseSync) -> Array:
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        return gyro.at(camera_t_ns, coarse.dt_imu_cam_s).as_matrix() @ self.mount.T_imu_cam[:3, :3]

    def _start(
        self, key_tracks: Tracks, seen: landmarks.Observations, coarse: sync.CoarseSync
    ) -> tuple[States, sync.FineSync]:
        """States of all keyframes: a first stretch from its pictures, the rest grown from it. Raises Refused."""
        if self.rooms:
            return self._start_in_room(key_tracks.camera_t_ns, seen, coarse)
        ray, _ = self.mount.camera.unproject(key_tracks.pixel)
        windows = starting_windows(
            key_tracks, ray, self._gyro_rotations(key_tracks.camera_t_ns, coarse), self.params.start_keyframes
        )
        most = unaligned = 0
        windows = windows[: self.params.start_attempts]
        # Every other keyframe takes a third of the time and mostly does; the rest is found when growing. Where a thing
        # that moves fills the view for a while, another part of the window is without it.
        parts = [part for window in windows for part in halves(window) if len(part) >= 2 * self.params.least_start]
        for window in [*(window[::2] for window in windows), *windows, *parts]:
            with self.step("structure from motion", 0.4):
                poses = sfm.solve(key_tracks.of_frames(window), self.mount.camera, self.params.sfm)
            index = window[poses.keyframe]
            most = max(most, len(index))
            if len(index) < min(self.params.least_start, len(window) // 2):
                continue
            started = self._metric_start(key_tracks.camera_t_ns, index, poses, seen, coarse)
            if started is None:
                unaligned = max(unaligned, len(index))
                continue
            return self._grown(key_tracks.camera_t_ns, index, seen, *started)
        if unaligned:
            raise Refused(Cause("accel_disagrees", measured=float(unaligned)))
        raise Refused(Cause("no_initialisation", measured=float(most), limit=8.0))

    def _grown(
        self,
        camera_t_ns: Stamps,
        index: NDArray[np.int64],
        seen: landmarks.Observations,
        states: States,
        fine: sync.FineSync,
        sigma: float,
    ) -> tuple[States, sync.FineSync]:
        """From the keyframes `index` to all."""
        self.numbers["start_keyframes"] = len(index)
        with self.step("growing", 0.55):
            grown = extend(
                states,
                index,
                to_imu_clock(camera_t_ns, fine.dt_imu_cam_s),
                seen,
                self.mount.camera,
                self.mount.T_imu_cam,
                Preintegrator(self.imu, self.device.imu),
                sigma,
                self.params.extend,
                lambda share: self.on_progress("growing", 0.55 + 0.15 * share),
            )
        return grown, fine

    def _start_in_room(
        self, camera_t_ns: Stamps, seen: landmarks.Observations, coarse: sync.CoarseSync
    ) -> tuple[States, sync.FineSync]:
        """States of all keyframes, from those that show the room of an earlier take. Raises Refused."""
        most = 0
        for earlier in self.rooms[: self.params.session_map.most_tried]:
            with self.step("looking in an earlier take", 0.4):
                poses = self._found_in(earlier, camera_t_ns, seen, coarse)
            index = poses.keyframe
            most = max(most, len(index))
            if len(index) < self.params.least_start:
                continue
            self.placed = placed_by(poses, self.mount.T_imu_cam, self.params.relocalise)
            started = self._metric_start(camera_t_ns, index, poses, seen, coarse)
            if started is not None:
                self.numbers |= {"held_in_take": earlier.id, "held_in_sha256": earlier.sha256[ROOM_FILE]}
                return self._grown(camera_t_ns, index, seen, *started)
        raise Refused(Cause("no_initialisation", measured=float(most), limit=8.0))

    def _found_in(
        self, earlier: EarlierTake, camera_t_ns: Stamps, seen: landmarks.Observations, coarse: sync.CoarseSync
    ) -> sfm.SfmPoses:
        """Keyframes that show the room of an earlier take, and their poses in its world."""
        number = {int(t_ns): k for k, t_ns in enumerate(camera_t_ns)}
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        return relocalise(
            ((number[f.t_ns], f.image) for f in self.pictures(number)),
            seen,
            self._gyro_rotations(camera_t_ns, coarse),
            up_in_start(self.imu.accel_imu, gyro.at(self.imu.t_ns).as_matrix()),
            self.mount.camera,
            earlier.room,
            self.params.merge,
            self.params.relocalise,
        )

    def _metric_start(
        self,
        camera_t_ns: Stamps,
        index: NDArray[np.int64],
        poses: sfm.SfmPoses,
        seen: landmarks.Observations,
        coarse: sync.CoarseSync,
    ) -> tuple[States, sync.FineSync, float] | None:
        """Alignment and a first bundle adjustment of the keyframes `index`; None if it fails. Raises Refused."""
        T_imu_cam, camera = self.mount.T_imu_cam, self.mount.camera
        with self.step("aligning", 0.5):
            fine = sync.refine_offset(camera_t_ns[index], poses.R_anchor_cam, self.imu, T_imu_cam[:3, :3], coarse)
            if abs(fine.dt_imu_cam_s - coarse.dt_imu_cam_s) > max(0.02, 5 * coarse.sigma_s):
                fine = replace(fine, dt_imu_cam_s=coarse.dt_imu_cam_s, gyro_bias=coarse.gyro_bias)
            limit = np.deg2rad(self.params.verdict.max_rotation_error_deg)
            if fine.correction_rad > limit and fine.correction_rad > 4 * fine.correction_sigma_rad:
                measured = float(np.rad2deg(fine.correction_rad))
                raise Refused(Cause("camera_imu_rotation", measured=measured, limit=float(np.rad2deg(limit))))
            imu = Preintegrator(self.imu, self.device.imu)
            t_ns = to_imu_clock(camera_t_ns[index], fine.dt_imu_cam_s)
            known = (t_ns, poses.R_anchor_cam, poses.p_anchor, T_imu_cam, fine.gyro_bias)
            start = as_placed(*known) if self.placed else align(*known, imu, self.params.align)
        if start is None:
            return None
        self.numbers["aligned_gravity_m_s2"] = start.gravity_norm
        position = np.full(len(camera_t_ns), -1)
        position[index] = np.arange(len(index))
        local = replace(seen, keyframe=position[seen.keyframe])
        local = local.where(local.keyframe >= 0)
        states, sigma = start.states, 1.0
        with self.step("first bundle adjustment", 0.52):
            for _ in range(2):
                kept, _, _, sigma = landmarks.gate(local, states.T_world_imu @ T_imu_cam, camera, self.params.gate)
                if len(kept) < 8 * len(index):
                    return None
                out = bundle.optimise(
                    states, kept, camera, T_imu_cam, imu, max(sigma, 0.3),
                    params=self.params.bundle, placed=placed_by(poses, T_imu_cam, self.params.relocalise, True)
                    if self.placed else (),
                )  # fmt: skip
                states = out.states
        return states, fine, sigma

    def _check_clock_prior(self, fine: sync.FineSync) -> None:
        """Forgets what an earlier take says of the offset where this one's start denies it."""
        prior = self.clock_prior
        if prior is None:
            return
        off_s = fine.dt_imu_cam_s - prior.dt_imu_cam_s
        likely = abs(off_s) < max(self.params.session_map.clock_jump_s, 4 * np.hypot(fine.sigma_s, prior.sigma_s))
        self.numbers |= {"clock_prior_off_s": off_s, "clock_prior_used": bool(likely)}
        if not likely:
            self.clock_prior = None

    def _finish(
        self,
        turns: sync.VisualTurns,
        tracks: Tracks,
        key_tracks: Tracks,
        better: Refinement,
        best: Optimum,
    ) -> Reconstruction:
        offset_s, joint = best.offset_s, best.joint
        views = landmarks.views(best.seen, len(best.states))
        first = int(np.argmax(views >= self.params.verdict.min_marks))
        T_gauge = _gauge(best.states.T_world_imu[first], self.mount.T_imu_cam)
        states = best.states.moved(T_gauge)
        if self.placed:
            joint = uncertainty.regauged(joint, states.T_world_imu, first)
        judgement = self._judge(turns, tracks, key_tracks, states, best, views, joint, bool(better.slipped))
        start_ns = int(to_imu_clock(tracks.camera_t_ns[:1], offset_s)[0])
        judgement = judgement.with_doubts([*better.mount_causes(start_ns), *self._offset_causes(best)])
        for slip in better.slipped.values():
            judgement = judgement.until(float(seconds(slip.start_ns, start_ns)), self.params.verdict)
        if judgement.verdict == "refused":
            return Reconstruction(self.body, judgement, offset_s, joint.dt_sigma_s, (None, None), seconds=self.seconds)
        shift = int(states.t_ns[0]) - int(to_imu_clock(key_tracks.camera_t_ns[:1], offset_s)[0])
        states = states.shifted(-shift)  # rounding of the offset's steps, in ns
        chain = Chain(states, joint, self.imu, better.noise, tracks.camera_t_ns, offset_s, judgement.tracked)
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
            key_tracks.camera_t_ns,
            self.numbers["pixel_sigma_px"] * float(np.sqrt(self.numbers["pixel_variance_factor"])),
            self.params.room.held_scale_sigma if self.placed else self.numbers["scale_sigma"],
        )
        residuals = Residuals(
            key_tracks.camera_t_ns[shown.keyframe], shown.recorded_px, best.residual[followed], shown.track
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
            self.seconds,
            {better.eyes.eyes[c].name: better.eyes.eyes[c].mount for c in better.corrected},
            tuple(better.unfit),
        )

    def _offset_causes(self, best: Optimum) -> list[Cause]:
        """What to say of a clock offset that is not the calibrated one."""
        stated_s = self.mount.dt_sigma_s
        if not stated_s:  # nobody knows a clock exactly: a zero says that nobody measured it
            return []
        off_s, limit_s = abs(best.offset_s - self.mount.dt_imu_cam_s), 3 * np.hypot(stated_s, best.joint.dt_sigma_s)
        if off_s <= max(limit_s, self.params.verdict.least_offset_ms / 1e3):
            return []
        return [Cause("offset_moved", self.eyes[0].name, measured=1e3 * off_s, limit=1e3 * float(limit_s))]

    def _judge(
        self,
        turns: sync.VisualTurns,
        tracks: Tracks,
        key_tracks: Tracks,
        states: States,
        best: Optimum,
        views: NDArray[np.int64],
        joint: uncertainty.PoseUncertainty,
        slipped: bool,
    ) -> Judgement:
        residual_rms = float(np.sqrt(np.mean(best.residual**2))) if len(best.residual) else float("inf")
        position_sigma = np.sqrt(np.trace(joint.cov[:, 3:, :, 3:].diagonal(0, 0, 2), axis1=0, axis2=1))
        self.numbers |= {
            "keyframes_registered": int((views >= self.params.verdict.min_marks).sum()),
            "reprojection_rms_px": residual_rms,
            "gyro_bias_rad_s": states.gyro_bias.mean(axis=0).tolist(),
            "accel_bias_m_s2": states.accel_bias.mean(axis=0).tolist(),
            # Held in a room, a take is as metric as that is, however little it moves.
            "scale_sigma": np.nan if self.placed else verdict.scale_sigma(states, joint),
            "position_sigma_max_m": float(position_sigma.max()),
            "path_m": float(np.linalg.norm(np.diff(states.T_world_imu[:, :3, 3], axis=0), axis=1).sum()),
        }
        on_camera_clock = replace(self.imu, t_ns=self.imu.t_ns - nanoseconds(best.offset_s))
        limits = self.params.verdict
        if slipped:  # it is known why sensor and pictures contradict each other
            limits = replace(limits, max_imu_mismatch=np.inf)
        return verdict.judge(
            turns, tracks.camera_t_ns, key_tracks.camera_t_ns, views, position_sigma, joint.dt_sigma_s,
            on_camera_clock, self.numbers, limits,
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
