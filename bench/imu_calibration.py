"""Do the intervals of `calibrate imu` hold the truth, and how near does it come?

Noise is numpy's own (white, and white plus random walk), motion the virtual rig's: an uncalibrated part (`RAW_PART`)
laid down in 6 + `--askew` attitudes. Limits: densities within 5 %, random walk within 20 % from 4 h at 100 Hz, 95 %
intervals that hold the truth in 92 to 98 % of the cases. Peer: the usual reading of a log-log Allan plot, the
deviation at 1 s for the density, and a slope of +1/2 through the last decade for the walk.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from handcap.calibrate.imu import ImuLog, ImuResult, calibrate_imu
from handcap.calibrate.imu.allan import allan
from handcap.calibrate.imu.noise import NoiseFit, NoiseParams, bands, fit_noise, mean_over_axes
from handcap.geometry import Array
from handcap.sim import imu
from handcap.sim.turned import record_poses
from handcap.types import ImuModel

MODEL = ImuModel(200.0, 2e-4, 1.5e-3, 2e-5, 5e-4)


def noise(rng: np.random.Generator, n: int, rate_hz: float, density: float, walk: float) -> Array:
    """(n,) white noise plus random walk."""
    dt = 1 / rate_hz
    return rng.standard_normal(n) * density / np.sqrt(dt) + np.cumsum(rng.standard_normal(n)) * walk * np.sqrt(dt)


def poses_log(seed: int, askew: int) -> tuple[ImuLog, imu.ImuRecording]:
    """A log of a virtual part in many attitudes, and the truth of it."""
    truth = record_poses(seed, MODEL, askew=askew)
    samples = truth.samples
    return ImuLog(f"poses {seed}", samples.t_ns, samples.gyro_imu, samples.accel_imu, stated=MODEL), truth


def in_our_axes(truth: imu.ImuRecording) -> tuple[Array, Array, Array, Array]:
    """True accelerometer and gyroscope matrix, g-sensitivity, and the turn from our imu axes to the virtual ones.

    Length alone cannot tell a turn of the whole board: ours are the axes in which the accelerometer is symmetric.
    """
    U, s, Vt = np.linalg.svd(truth.accel_matrix)
    R_true_ours = (U @ Vt).T
    return (U * s) @ U.T, truth.gyro_matrix @ R_true_ours, truth.gyro_g_sensitivity @ R_true_ours, R_true_ours


def measure_noise(hours: float, rate_hz: float, density: float, walk: float, seeds: int, axes: int = 1) -> None:
    """One line: errors and coverage of density and walk of one axis, or of the mean of three."""
    n, params = int(hours * 3600 * rate_hz), NoiseParams()
    fits: list[NoiseFit] = []
    peer: list[tuple[float, float]] = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, n])
        samples = [noise(rng, n, rate_hz, density, walk) for _ in range(axes)]
        each = [bands(one, rate_hz, params) for one in samples]
        single = [fit_noise(one, params) for one in each]
        fits.append(single[0] if axes == 1 else fit_noise(mean_over_axes(each, single), params))
        peer.append(_by_eye(samples[0], rate_hz))
    held = np.mean([f.density.low <= density <= f.density.high for f in fits])
    off = np.array([(f.density.value or np.nan) / density - 1 for f in fits])
    all_held = np.mean([f.walk.low <= walk <= f.walk.high for f in fits])
    eye = np.abs(np.array(peer) - [density, walk]) / [density, max(walk, 1e-12)]
    known = [f.walk for f in fits if f.walk.value is not None]
    walk_told = f"walk stated in {100 * len(known) / seeds:.0f} %"
    if walk and known:
        walk_off = np.array([(w.value or np.nan) / walk - 1 for w in known])
        walk_held = np.mean([w.low <= walk <= w.high for w in known])
        walk_told += (
            f", rms {100 * np.sqrt(np.mean(walk_off**2)):.1f} %, within 20 % in "
            f"{100 * np.mean(np.abs(walk_off) < 0.2):.0f} % (by eye {100 * np.mean(eye[:, 1] < 0.2):.0f} %), "
            f"holds {100 * walk_held:.1f} %"
        )
    print(
        f"{hours:6.3f} h, K/N {walk / density:6.4f}, {'one axis' if axes == 1 else 'mean of 3'}: density worst "
        f"{100 * np.abs(off).max():.2f} % (by eye {100 * eye[:, 0].max():.1f} %), holds {100 * held:.1f} % | "
        f"{walk_told}; stated or not {100 * all_held:.1f} %",
        flush=True,
    )


def _by_eye(samples: Array, rate_hz: float) -> tuple[float, float]:
    curve = allan(samples, rate_hz)
    density = float(np.exp(np.interp(0.0, np.log(curve.tau_s), np.log(curve.deviation))))
    last = curve.tau_s > curve.tau_s[-1] / 10
    return density, float(np.median(curve.deviation[last] * np.sqrt(3 / curve.tau_s[last])))


def measure_poses(seeds: Sequence[int], askew: int) -> None:
    """One line: errors and coverage of scale, misalignment and bias."""
    z: dict[str, list[Array]] = {}
    off: dict[str, list[Array]] = {}
    refused = 0
    before: list[float] = []
    after: list[float] = []
    took: list[float] = []
    for seed in seeds:
        log, truth = poses_log(seed, askew)
        start = time.perf_counter()
        result = calibrate_imu([log])
        took.append(time.perf_counter() - start)
        if result.verdict == "refused":
            refused += 1
            print(seed, [cause.text() for cause in result.causes])
            continue
        for name, (error, sigma) in errors_of(result, truth).items():
            off.setdefault(name, []).append(error)
            z.setdefault(name, []).append(error / sigma)
        assert result.poses is not None and result.poses.gravity is not None
        before.append(float(np.sqrt(np.mean(result.poses.gravity.before**2))))
        after.append(float(np.sqrt(np.nanmean(result.poses.gravity.held_out**2))))
    print(
        f"virtual rig, uncalibrated part, {6 + askew} attitudes, {len(seeds)} parts, {refused} refused; "
        f"gravity {1e3 * np.mean(before):.0f} mm/s² rms before, {1e3 * np.mean(after):.2f} in held-out rests; "
        f"{np.median(took):.1f} s each"
    )
    pooled: list[Array] = []
    for name in z:
        each = np.abs(np.array(z[name]))
        pooled.append(each.ravel())
        print(
            f"  {name:20s} rms error {np.sqrt(np.mean(np.square(off[name]))):.2e}  "
            f"interval holds {100 * np.mean(each < 1.96):5.1f} %  rms z {np.sqrt(np.mean(each**2)):.2f}"
        )
    print(f"  {'pooled':20s} interval holds {100 * np.mean(np.concatenate(pooled) < 1.96):5.1f} %")


def errors_of(result: ImuResult, truth: imu.ImuRecording) -> dict[str, tuple[Array, Array]]:
    """Error and sigma of everything that positions tell."""
    found = result.poses
    assert found is not None and found.gravity is not None and found.turns is not None and found.bias is not None
    accel, gyro, sensitivity, _ = in_our_axes(truth)
    rests = np.concatenate([np.arange(rest.start, rest.end) for rest in found.rests.rests])
    upper = np.triu_indices(3)
    g, t, b = found.gravity, found.turns, found.bias
    return {
        "accel_matrix": ((g.matrix - accel)[upper], g.matrix_sigma[upper]),
        "accel_bias": (g.bias - truth.accel_bias[rests].mean(axis=0), g.bias_sigma),
        "gyro_matrix": (t.matrix - gyro, t.matrix_sigma),
        "gyro_bias": (b.bias - truth.gyro_bias[rests].mean(axis=0), b.bias_sigma),
        "gyro_g_sensitivity": (b.g_sensitivity - sensitivity, b.g_sensitivity_sigma),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--long-seeds", type=int, default=20)
    parser.add_argument("--no-noise", action="store_true", help="Positions alone.")
    parser.add_argument("--parts", type=int, default=60)
    parser.add_argument("--askew", type=int, default=10)
    args = parser.parse_args()
    if not args.no_noise:
        print("noise of numpy:")
        for hours, walk in ((1 / 60, 2e-5), (1 / 6, 2e-5), (1 / 6, 2e-6), (1 / 6, 0.0)):
            measure_noise(hours, 100.0, 2e-4, walk, args.seeds)
        for walk in (2e-5, 5e-6, 2e-6):
            measure_noise(4.0, 100.0, 2e-4, walk, args.long_seeds, axes=3)
    measure_poses(range(args.parts), args.askew)


if __name__ == "__main__":
    main()
