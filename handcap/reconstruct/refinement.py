"""From states of all keyframes, roughly, to the best ones; pictures and mounts are looked at again on the way."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import gtsam
import numpy as np
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.clock import nanoseconds
from handcap.geometry import Array
from handcap.reconstruct import bundle, landmarks, merge, mounts
from handcap.reconstruct.adopt import adopted
from handcap.reconstruct.eyes import Eyes
from handcap.reconstruct.inertial import Preintegrator, States
from handcap.reconstruct.landmarks import Landmarks, Observations
from handcap.reconstruct.limits import Refused
from handcap.reconstruct.patches import aligned
from handcap.reconstruct.result import ReconstructParams
from handcap.reconstruct.room import Looks
from handcap.reconstruct.selfcheck import split_half
from handcap.reconstruct.session_map import ClockPrior
from handcap.reconstruct.uncertainty import Linearised, PoseUncertainty, linearised
from handcap.reconstruct.weighing import Weighed, weigh
from handcap.types import CameraSigma, Device, ImuModel, ImuSamples, MountedCamera


@dataclass(frozen=True, eq=False, slots=True)
class Optimum:
    """States of all keyframes and what supports them.

    Attributes:
        states: the best ones, at `offset_s`.
        seen, marks, residual: observations that agree with them, their points, and what is left, px.
        weighed, solution, linear: the last solution, a step of the offset before `states`.
        joint: how well the poses are known.
    """

    states: States
    offset_s: float
    seen: Observations
    marks: Landmarks
    residual: Array
    weighed: Weighed
    solution: bundle.Solution
    linear: Linearised
    joint: PoseUncertainty


class Refinement:
    """Of one device's take.

    Attributes:
        eyes: its cameras, as they are believed to sit.
        looks: how the points look, for later takes; None until they are laid, and in a quick pass.
        corrected: by number of the camera, those that do not sit or look as calibrated, and what they are off by.
        slipped: by number of the camera, those that turned on their mount in the course of the take.
        unfit: by name, cameras that do not see what they should, and the share of it that they do.
        noise_scale: of the IMU's stated noise, as the residuals demand.
    """

    def __init__(
        self,
        imu: ImuSamples,
        device: Device,
        eyes: Eyes,
        params: ReconstructParams,
        numbers: dict[str, Any],
        clock_prior: ClockPrior | None = None,
        placed: Sequence[gtsam.NonlinearFactor] = (),
    ) -> None:
        self._imu, self._device, self.eyes, self._params, self._numbers = imu, device, eyes, params, numbers
        self._calibrated = [eye.mount for eye in eyes.eyes]
        self._clock_prior, self._placed = clock_prior, placed
        self.corrected: dict[int, mounts.Correction] = {}
        self.noise_scale = 1.0
        self.slipped: dict[int, mounts.Slip] = {}
        self.looks: Looks | None = None
        self.unfit: dict[str, float] = {}
        self._integrator = Preintegrator(imu, device.imu)

    @property
    def noise(self) -> ImuModel:
        """Of the IMU, as the residuals demand."""
        stated, scale = self._device.imu, self.noise_scale
        return replace(
            stated,
            gyro_noise_density=stated.gyro_noise_density * scale,
            accel_noise_density=stated.accel_noise_density * scale,
        )

    def solve(self, states: States, seen: Observations, offset_s: float, rounds: int) -> Optimum:
        """Bundle adjustment of the whole take, gated each round, noise levels and time offset re-estimated.

        Raises Refused, Unsolvable.
        """
        first, optics, gate = self._first, self.eyes.optics, self._params.gate
        best = None
        for _ in range(rounds):
            seen = self.eyes.moved_back(seen, states)
            kept, marks, residual, _ = landmarks.gate(seen, states.T_world_imu @ first.T_imu_cam, optics, gate)
            weighed = weigh(kept, states, optics, first.T_imu_cam, self._params)
            noise = weighed.noise
            out = bundle.optimise(
                states, weighed.seen, optics, first.T_imu_cam, self._integrator, weighed.sigma_px,
                gauge=weighed.gauge, params=self._params.bundle, placed=self._placed,
            )  # fmt: skip
            linear = linearised(out, self._integrator, *self._offset_prior(offset_s))
            joint = linear.uncertainty(noise.variance_factor / noise.solver_factor)
            step = float(np.clip(joint.dt_step_s, -0.02, 0.02))
            offset_s += step
            states = out.states.shifted(int(nanoseconds(step)))
            best = Optimum(states, offset_s, kept, marks, residual, weighed, out, linear, joint)
            if self._settled(step, out, weighed, best):
                break
        assert best is not None
        self._numbers["imu_noise_scale"] = self.noise_scale
        seen = self.eyes.moved_back(seen, states)
        kept, marks, residual, _ = landmarks.gate(seen, states.T_world_imu @ first.T_imu_cam, optics, gate)
        return replace(best, seen=kept, marks=marks, residual=residual)

    def _offset_prior(self, offset_s: float) -> tuple[float, float]:
        """Sigma of what is known of the offset beforehand, s, and where its mean lies from `offset_s`."""
        if self._clock_prior is not None:
            return self._clock_prior.sigma_s, self._clock_prior.dt_imu_cam_s - offset_s
        return self._calibrated[0].dt_sigma_s or self._params.offset_prior_s, 0.0

    def _settled(self, step: float, out: bundle.Solution, weighed: Weighed, best: Optimum) -> bool:
        """Notes a round's numbers; whether offset and noise level have stopped moving."""
        noise, params = weighed.noise, self._params
        self._numbers |= {
            "landmarks": len(best.marks.track),
            "stations": weighed.stations,
            "observations": len(best.seen),
            "pixel_sigma_px": noise.typical_px,
            "pixel_correlation": noise.correlation,
            "pixel_variance_factor": noise.variance_factor,
            "imu_chi2": out.imu_chi2,
            "converged": out.converged,
        }
        scale = float(np.clip(self.noise_scale * np.sqrt(out.imu_chi2), 1.0, params.most_noise_scale))
        if abs(scale / self.noise_scale - 1) > 0.1:
            self.noise_scale = scale
            self._integrator = Preintegrator(self._imu, self._device.imu, scale)
            return False
        return abs(step) < params.offset_converged_s

    def with_known_points(self, best: Optimum, seen: Observations, rounds: int) -> Optimum:
        """Solved again with tracks that have no depth, of all that was `seen`, at points that are known, if any are."""
        first = self.eyes.eyes[0].mount
        T_world_cam = best.states.T_world_imu @ first.T_imu_cam
        seen = self.eyes.moved_back(seen, best.states)
        more = adopted(seen, best.seen, best.marks, T_world_cam, first.camera, self._params.adopt)
        if more is None:
            return best
        self._numbers["adopted_views"] = len(more) - len(best.seen)
        return self.solve(best.states, more, best.offset_s, rounds)

    def joined(self, best: Optimum) -> Observations:
        """What `best` has seen, tracks of one point as one."""
        eye, seen = self.eyes.eyes[0], best.seen
        T_world_cam, camera = best.states.T_world_imu @ eye.mount.T_imu_cam, eye.mount.camera
        stamps = self.eyes.key_t_ns[0]
        wanted = {int(stamps[k]): int(k) for k in merge.keyframes_to_describe(seen)}
        pictures = ((wanted[f.t_ns], f.image) for f in eye.pictures(wanted))
        found = merge.describe(pictures, seen, best.marks, T_world_cam, camera, self._params.merge)
        together, joins = merge.merge(seen, best.marks, found, T_world_cam, camera, self._params.merge)
        self._numbers["joined_tracks"] = joins
        return together

    def laid(self, best: Optimum, seen: Observations) -> Observations:
        """What the first camera has `seen`, and the others see too, where patches of the first one's pictures lie."""
        T_world_cam, optics = best.states.T_world_imu @ self._first.T_imu_cam, self.eyes.optics
        ray, valid = optics.unproject(seen.pixel, seen.camera)  # the lens may be another than it was believed to be
        seen = self.eyes.moved_back(replace(seen, ray=ray).where(valid), best.states)
        kept, marks, _, _ = landmarks.gate(seen, T_world_cam, optics, self._params.gate)
        expected = self.eyes.expected(kept, marks, best.states)
        found, fit = self._laid(expected, marks, T_world_cam)
        astray = [c for c, share in fit.items() if share < self._params.eyes.aim_fit]
        aimed = {c: mount for c in astray if (mount := self.eyes.aimed(c, expected)) is not None}
        if aimed:
            self._believe(aimed)
            found, fit = self._laid(self.eyes.expected(kept, marks, best.states), marks, T_world_cam)
        self._numbers |= {
            "patches_fit": int((found.camera == 0).sum()) / max(len(kept), 1),
            "other_cameras_fit": {self.eyes.eyes[c].name: share for c, share in fit.items()},
        }
        blind = [c for c, share in fit.items() if share < self._params.eyes.least_fit]
        self.unfit = {self.eyes.eyes[c].name: fit[c] for c in blind}
        self._believe({c: self._calibrated[c] for c in blind})
        return found.where(~np.isin(found.camera, blind))

    def _laid(
        self, expected: Observations, marks: Landmarks, T_world_cam: Array
    ) -> tuple[Observations, dict[int, float]]:
        """Observations where patches fit, and by camera beside the first the share of those expected that do."""
        followed = expected.where(expected.camera == 0)
        looks = Looks(followed, marks, T_world_cam, self._first.camera, self._params.merge, self._params.room)

        def pictures() -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
            for c, k, picture in self.eyes.pictures():
                if self._params.share and c == 0:
                    looks.see(k, picture)
                yield c, k, picture

        found = aligned(expected, marks, T_world_cam, self.eyes.optics, pictures, self._params.patches)
        self.looks = looks if self._params.share else None
        count = len(self.eyes.eyes)
        there, wanted = (np.bincount(each.camera, minlength=count) for each in (found, expected))
        return found, {c: float(there[c] / max(wanted[c], 1)) for c in range(1, count)}

    def _believe(self, mounts: Mapping[int, MountedCamera]) -> None:
        eyes = [replace(eye, mount=mounts.get(c, eye.mount)) for c, eye in enumerate(self.eyes.eyes)]
        self.eyes = replace(self.eyes, eyes=tuple(eyes))

    def with_mounts_checked(self, best: Optimum, look: Callable[[Optimum], Observations], rounds: int) -> Optimum:
        """The best states with every camera where the take would have it, and what is not known of that accounted for.

        Cameras that sit or look otherwise than believed are believed anew, and all is solved again, while that helps.

        Args:
            look: what is seen, once more is known.
            rounds: of each solution.
        """
        wishes = self._wishes(best)
        self._note_slips(wishes)
        for _ in range(self._params.mounts.rounds):
            before = self.eyes, self.corrected, self.noise_scale, self._integrator, self.looks, self.unfit
            numbers = dict(self._numbers)
            if not self._believed_anew(wishes):
                break
            try:
                best = self.solve(best.states, look(best), best.offset_s, rounds)
            except (Refused, bundle.Unsolvable):  # so it cannot be: as it was solved last
                self.eyes, self.corrected, self.noise_scale, self._integrator, self.looks, self.unfit = before
                self._numbers.clear()
                self._numbers.update(numbers)
                break
            wishes = self._wishes(best)
        params = self._params.mounts
        known = [
            params.possible if c in self.corrected else m.sigma or params.exact for c, m in enumerate(self._calibrated)
        ]
        cov = best.joint.cov.reshape(len(wishes.follows), -1) + wishes.covariance(known)
        return replace(best, joint=replace(best.joint, cov=cov.reshape(best.joint.cov.shape)))

    def _wishes(self, best: Optimum) -> mounts.Wishes:
        noise = best.weighed.noise
        return mounts.wishes(
            best.linear,
            best.weighed.seen,
            best.weighed.sigma_px,
            best.solution.states.t_ns,
            best.solution.states.T_world_imu,
            [eye.mount for eye in self.eyes.eyes],
            noise.variance_factor / noise.solver_factor,
            self._params.mounts.parts,
        )

    def _note_slips(self, wishes: mounts.Wishes) -> None:
        """Notes cameras that turned on their mounts meanwhile; no one place is right for these."""
        params = self._params.mounts
        tolerances = [params.tolerance(m) for m in self._calibrated]
        for c, slip in enumerate(wishes.slips(tolerances, params.possible.rotation_rad)):
            if slip.significance(tolerances[c]) > params.slip_sigmas:
                self.slipped.setdefault(c, slip)

    def _known(self, moved: Container[int]) -> list[CameraSigma]:
        """What is known of every camera beforehand: of those that have moved, what is possible."""
        params = self._params.mounts
        return [params.possible if c in moved else params.tolerance(m) for c, m in enumerate(self._calibrated)]

    def _believed_anew(self, wishes: mounts.Wishes) -> bool:
        """Whether any camera is now believed to sit or look otherwise than before.

        Which have moved is told with all of them free; how far, with the others held as well as they are calibrated.
        """
        params = self._params.mounts
        every = range(len(self._calibrated))
        believed = [eye.mount for eye in self.eyes.eyes]
        moved: set[int] = set()
        for c, step in enumerate(wishes.corrections(self._known(every))):
            total = step.after(self._calibrated[c], believed[c])
            # One that was found to have moved has to come nearer than that to be believed where it was calibrated.
            limit = params.sigmas * (1.0 if believed[c] is self._calibrated[c] else params.back)
            if max(total.significance(params.tolerance(self._calibrated[c]))) >= limit:
                moved.add(c)
        moved.difference_update(self.slipped)
        steps = wishes.corrections(self._known(moved))
        totals = {c: steps[c].after(self._calibrated[c], believed[c]) for c in sorted(moved)}
        self.corrected = {c: total for c, total in totals.items() if total.can_be(params)}
        believe = {c: self._calibrated[c] for c in every if c not in self.corrected}
        again = any(believed[c] is not mount for c, mount in believe.items())
        for c, total in self.corrected.items():
            if max(steps[c].significance(params.settled)) > 1:
                again = True
                believe[c] = total.applied(self._calibrated[c])
        self._believe(believe)
        if again:
            self.noise_scale = 1.0  # what a wrong mount asked for
            self._integrator = Preintegrator(self._imu, self._device.imu)
        return again

    def mount_causes(self, first_ns: int) -> list[Cause]:
        """What to say of cameras that do not sit or look as calibrated, in a take that begins at `first_ns`."""
        params = self._params.mounts
        found: list[Cause] = []
        for c, slip in self.slipped.items():
            tolerance = params.tolerance(self._calibrated[c])
            found.append(slip.cause(self.eyes.eyes[c].name, first_ns, tolerance, params))
        for c, moved in self.corrected.items():
            found += moved.causes(self.eyes.eyes[c].name, self._calibrated[c], params)
        least = self._params.eyes.least_fit
        for name, share in self.unfit.items():
            found.append(Cause("camera_disagrees", name, measured=100 * share, limit=100 * least))
        return found

    def check_halves(self, best: Optimum) -> None:
        """Notes what halves of the landmarks say of each other; None where they say nothing."""
        optics, T_imu_cam = self.eyes.optics, self._first.T_imu_cam
        weighed = weigh(best.seen, best.states, optics, T_imu_cam, self._params)
        sigma_px = dict(zip(np.unique(weighed.seen.track).tolist(), weighed.sigma_px.tolist(), strict=True))

        def solve(half: Observations) -> States:
            sigma = np.array([sigma_px[track] for track in np.unique(half.track).tolist()])
            out = bundle.optimise(
                best.states, half, optics, T_imu_cam, self._integrator, sigma, gauge=weighed.gauge,
                params=replace(self._params.bundle, iterations=self._params.half_iterations), placed=self._placed,
            )  # fmt: skip
            return out.states

        metres = radians = None
        with suppress(bundle.Unsolvable):  # half of the landmarks may be too few; the whole take is solved all the same
            metres, radians = split_half(weighed.seen, solve)
        self._numbers |= {"split_half_m": metres, "split_half_rad": radians}

    @property
    def _first(self) -> MountedCamera:
        return self.eyes.eyes[0].mount
