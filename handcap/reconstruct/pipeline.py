"""One device's cameras and IMU to a metric trajectory: the order of the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from handcap.causes import Cause
from handcap.clock import NS_PER_S, nanoseconds, to_imu_clock
from handcap.geometry import GRAVITY_M_S2, Array
from handcap.measure.gyro import GyroRotation
from handcap.reconstruct import bundle, inputs, landmarks, sync
from handcap.reconstruct.align import align
from handcap.reconstruct.eyes import Eye, Eyes
from handcap.reconstruct.finish import Finish
from handcap.reconstruct.frontend import Tracks, rotation_predictor, track
from handcap.reconstruct.inertial import Preintegrator
from handcap.reconstruct.keyframes import choose_keyframes, neighbour_parallax
from handcap.reconstruct.knocks import Knocks
from handcap.reconstruct.limits import Refused
from handcap.reconstruct.refinement import Optimum, Refinement
from handcap.reconstruct.result import Progress, Reconstruction, ReconstructParams
from handcap.reconstruct.run_log import RunLog
from handcap.reconstruct.session_map import ClockPrior, EarlierTake
from handcap.reconstruct.shutter import RollingShutter
from handcap.reconstruct.start import Starter
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
    params, seconds_taken = params or ReconstructParams(), {}
    work = _Work(eyes, imu, device, params, RunLog(on_progress, seconds=seconds_taken), body, clock_prior)
    result = _tried(work)
    if _HELPED_BY_A_ROOM & {cause.code for cause in result.judgement.causes} and result.chain is None and rooms():
        log = RunLog(on_progress, seconds=seconds_taken)
        held = _tried(_Work(eyes, imu, device, params, log, body, clock_prior, rooms()))
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
        judgement = Judgement("refused", (*work.dark, *causes), (), np.zeros(0, bool), work.log.numbers)
        judgement = judgement.about(body)
        return Reconstruction(body, judgement, None, None, (None, None), seconds=work.log.seconds)


# What a take is refused for that sees too little of the room from the side, and an earlier take saw more.
_HELPED_BY_A_ROOM = {"rotation_only", "no_initialisation", "accel_disagrees", "scale_unobservable"}


class _Work:
    """One run over one take: the inputs, the steps."""

    def __init__(
        self,
        eyes: Sequence[Eye],
        imu: ImuSamples,
        device: Device,
        params: ReconstructParams,
        log: RunLog,
        body: str,
        clock_prior: ClockPrior | None = None,
        rooms: Sequence[EarlierTake] = (),
    ) -> None:
        self.body, self.eyes = body, eyes
        self.pictures, self.imu, self.device, self.mount = eyes[0].pictures, imu, device, eyes[0].mount
        self.params, self.log = params, log
        self.dark: tuple[Cause, ...] = ()  # what to say first of a take that fails for whatever reason
        self.clock_prior = clock_prior
        self.rooms = rooms  # to be held in; without any the take is solved by itself

    def run(self) -> Reconstruction:
        limits = self.params.verdict
        with self.log.step("looking at the pictures", 0.0):
            turns = sync.visual_turns(self.pictures(), self.mount.camera, self.params.sync)
            turns = inputs.without_frozen(turns, self.imu, limits)
            self._note_inputs(turns)
            self.dark = inputs.darkness(turns, limits)
            inputs.check_inputs(turns, self.imu, limits)
            inputs.check_sight(turns, limits)
            coarse = self._coarse_offset(turns)
        with self.log.step("following features", 0.1):
            tracks = self._track(coarse, turns)
        with self.log.step("choosing keyframes", 0.35):
            key_tracks, seen, R_start_cam = self._keyframes(tracks, coarse)
        starter = Starter(
            self.eyes[0], self.imu, self.device, self.params, self.log, key_tracks, seen, coarse, R_start_cam
        )
        started = starter.in_room(self.rooms) if self.rooms else starter.from_pictures()
        fine = started.fine
        self._check_clock_prior(fine)
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        eyes = Eyes.at(key_tracks.camera_t_ns, self.eyes, gyro, fine.dt_imu_cam_s, self.params.eyes, self.params.gate)
        better = Refinement(
            self.imu, self.device, eyes, self.params, self.log.numbers, self.clock_prior, started.placed
        )
        with self.log.step("refining", 0.7):
            best = better.solve(started.states, seen, fine.dt_imu_cam_s, self.params.first_rounds)
            best = better.with_known_points(best, seen, self.params.first_rounds)
            best = better.with_mounts_checked(best, lambda best: best.seen, self.params.first_rounds)
        if self.params.twice:
            best = self._twice(better, best)
        self._weigh_gravity_again(best)
        with self.log.step("filling in every picture", 0.95):
            held = bool(started.placed)
            end = Finish(self.body, self.eyes[0], self.imu, self.params, self.log, turns, tracks, key_tracks, held)
            return end.told(better, best)

    def _weigh_gravity_again(self, best: Optimum) -> None:
        """Where the start's gravity was wrong, that of the solution counts: the first structure from motion may err."""
        if abs(self.log.numbers["aligned_gravity_m_s2"] - GRAVITY_M_S2) <= self.params.verdict.max_gravity_error:
            return
        states, T_imu_cam = best.states, self.mount.T_imu_cam
        T_world_cam = states.T_world_imu @ T_imu_cam
        known = (states.t_ns, T_world_cam[:, :3, :3], T_world_cam[:, :3, 3], T_imu_cam, states.gyro_bias.mean(axis=0))
        again = align(*known, Preintegrator(self.imu, self.device.imu), self.params.align)
        if again is not None:
            self.log.numbers["aligned_gravity_m_s2"] = again.gravity_norm

    def _twice(self, better: Refinement, best: Optimum) -> Optimum:
        """The second solution: tracks joined, looked at anew in all cameras, and their mounts checked."""
        with self.log.step("joining tracks", 0.8):
            joined = better.joined(best)

        def look(best: Optimum) -> landmarks.Observations:
            with self.log.step("laying patches", 0.82):
                return better.laid(best, joined)

        rounds, laid = self.params.final_rounds, look(best)
        with self.log.step("refining again", 0.85):
            best = better.solve(best.states, laid, best.offset_s, rounds)
        with self.log.step("checking mounts", 0.9):
            best = better.with_mounts_checked(best, look, rounds)
        with self.log.step("checking halves", 0.93):
            better.check_halves(best)
        return best

    def _note_inputs(self, turns: sync.VisualTurns) -> None:
        t = turns.camera_t_ns
        self.log.numbers["pictures"] = len(t)
        self.log.numbers["length_s"] = float((t[-1] - t[0]) / NS_PER_S) if len(t) else 0.0
        self.log.numbers["imu_samples"] = len(self.imu)

    def _coarse_offset(self, turns: sync.VisualTurns) -> sync.CoarseSync:
        R_imu_cam = self.mount.T_imu_cam[:3, :3]
        nominal = self.mount.dt_imu_cam_s
        found = sync.coarse_offset(turns, self.imu, R_imu_cam, nominal, self.params.sync)
        inputs.check_clock(found, self.params.verdict)
        if found is None or not np.isfinite(found.sigma_s) or found.correlation < self.params.verdict.min_correlation:
            # Too little turning to say: trust the calibration, take the bias from the gyroscope's own mean.
            bias = np.median(self.imu.gyro_imu, axis=0) if found is None else found.gyro_bias
            found = sync.CoarseSync(nominal, self.params.sync.search_s / 10, bias, 1.0, 0.0, 0.0)
        self.log.numbers["coarse_offset_s"] = found.dt_imu_cam_s
        self.log.numbers["turn_correlation"] = found.correlation
        self.log.numbers["clock_drift_ms"] = self._clock_drift_ms(turns, found)
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
            lambda n: self.log.on_progress("following features", 0.1 + 0.25 * n / max(count, 1)),
        )

    def _keyframes(self, tracks: Tracks, coarse: sync.CoarseSync) -> tuple[Tracks, landmarks.Observations, Array]:
        """Keyframes within the IMU's span, what they see, and (n, 3, 3) how the gyroscope has turned their camera.

        Raises Refused for a camera that did not move.
        """
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
        knocked = Knocks(self.imu).beside(t_imu[inside])
        chosen = inside[choose_keyframes(tracks.of_frames(inside), self.params.keyframes, knocked)]
        recorded = tracks.of_frames(chosen)
        gyro = GyroRotation(self.imu, coarse.gyro_bias)
        key_tracks = RollingShutter(self.mount, gyro, coarse.dt_imu_cam_s).turned_back(recorded)
        ray, _ = self.mount.camera.unproject(key_tracks.pixel)
        turned = gyro.at(key_tracks.camera_t_ns, coarse.dt_imu_cam_s).as_matrix()
        R_start_cam = turned @ self.mount.T_imu_cam[:3, :3]
        parallax = neighbour_parallax(key_tracks, ray, R_start_cam, lag=min(8, len(chosen) - 1))
        shift_deg, parallax_deg = inputs.check_motion(key_tracks, ray, R_start_cam, parallax, self.params.verdict)
        self.log.numbers.update(keyframes=len(chosen), view_shift_deg=shift_deg, parallax_deg=parallax_deg)
        return key_tracks, landmarks.observations(key_tracks, self.mount.camera, recorded.pixel), R_start_cam

    def _imu_stretch(self, t_imu: Stamps) -> tuple[int, int]:
        """First and last IMU stamp of the stretch between long gaps that holds the most pictures."""
        gap = np.flatnonzero(np.diff(self.imu.t_ns) > self.params.verdict.imu_split_s * NS_PER_S)
        first, last = self.imu.t_ns[np.r_[0, gap + 1]], self.imu.t_ns[np.r_[gap, len(self.imu) - 1]]
        held = [int(np.sum((t_imu >= a) & (t_imu <= b))) for a, b in zip(first, last, strict=True)]
        best = int(np.argmax(held))
        return int(first[best]), int(last[best])

    def _check_clock_prior(self, fine: sync.FineSync) -> None:
        """Forgets what an earlier take says of the offset where this one's start denies it."""
        prior = self.clock_prior
        if prior is None:
            return
        off_s = fine.dt_imu_cam_s - prior.dt_imu_cam_s
        likely = abs(off_s) < max(self.params.session_map.clock_jump_s, 4 * np.hypot(fine.sigma_s, prior.sigma_s))
        self.log.numbers.update(clock_prior_off_s=off_s, clock_prior_used=bool(likely))
        if not likely:
            self.clock_prior = None
