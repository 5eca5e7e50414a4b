"""Is a reconstruction better for `calibrate imu`?

Virtual heads with uncalibrated parts (`--raw-imu`), one specimen each: reconstructed with the rig.json of the session,
and with one that holds what the calibration of the same specimen, laid down in 16 attitudes, found. The mount of the
camera is told in the axes of each, as `calibrate camera-imu` would find it. Limit: tilt and position error smaller with
than without, in the median and in most takes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from handcap import geometry, session, sim
from handcap.calibrate.imu import ImuLog, calibrate_imu
from handcap.geometry import Array
from handcap.reconstruct import run_session
from handcap.reconstruct.score import Score, score
from handcap.sim import imu, sensors
from handcap.sim.turned import FACES, laid_down
from handcap.types import Device, ImuCalibration, Rig


def part(share: float) -> imu.ImuErrors:
    """An uncalibrated part with so much of the usual scale, misalignment, g-sensitivity and bias."""
    names = ("gyro_bias", "accel_bias", "gyro_scale", "accel_scale", "gyro_misalignment", "accel_misalignment")
    keys = [f"{name}_sd" for name in (*names, "gyro_g_sensitivity")]
    return replace(imu.RAW_PART, **{key: share * getattr(imu.RAW_PART, key) for key in keys})


def calibrated(device: Device, errors: imu.ImuErrors) -> ImuCalibration:
    """What the calibration of this specimen finds; chip axes."""
    assert device.uid is not None
    serial = int(device.uid.rsplit("-", 1)[1])
    rng = np.random.default_rng([serial, 77])
    motion, end_s = laid_down(np.concatenate([FACES, rng.uniform(-2.0, 2.0, (10, 3))]))
    t_ns = (np.arange(int(end_s * device.imu.rate_hz)) * 1e9 / device.imu.rate_hz).astype(np.int64)
    specimen = np.random.default_rng([serial, sensors._PART, 0])  # the same as in the session
    samples = imu.record(motion, device.imu, errors, t_ns, rng, specimen).samples
    R = device.R_imu_chip
    log = ImuLog("poses", t_ns, samples.gyro_imu @ R, samples.accel_imu @ R, stated=device.imu, R_imu_chip=R)
    found = calibrate_imu([log]).poses
    assert found is not None and found.gravity is not None and found.turns is not None and found.bias is not None
    g, t, b = found.gravity, found.turns, found.bias
    return ImuCalibration(t.matrix, b.bias, g.matrix, g.bias, b.g_sensitivity)


def axes_of_ours(accel_matrix: Array) -> Array:
    """R_true_ours (3, 3): our imu axes are those in which the accelerometer is symmetric."""
    U, _, Vt = np.linalg.svd(accel_matrix)
    return (U @ Vt).T


def rig_with(rig: Rig, known: ImuCalibration, R_true_ours: Array) -> Rig:
    """The rig with the calibration, its camera told in the calibrated axes."""
    T = geometry.se3(R_true_ours.T, np.zeros(3))
    head = replace(rig.devices["head"], calibration=known)
    camera = replace(rig.cameras["head"], T_imu_cam=T @ rig.cameras["head"].T_imu_cam)
    return replace(rig, devices={"head": head}, cameras={"head": camera})


def scored(folder: Path, rig_path: Path | None, R_true_ours: Array) -> Score | None:
    """Against the truth of the body whose axes the rig means; None when refused."""
    (result,) = run_session(folder, rig_path=rig_path)
    if result.verdict == "refused":
        print(f"  refused: {[cause.text() for cause in result.causes]}")
        return None
    estimate = session.read_trajectory(folder / "derived/0001/reconstruct/head_imu.parquet")
    truth = session.read_trajectory(folder / "truth/head_imu.parquet")
    return score(replace(truth, T_world_body=truth.T_world_body @ geometry.se3(R_true_ours, np.zeros(3))), estimate)


def words(s: Score | None) -> str:
    if s is None:
        return "refused"
    return f"ATE {1e3 * s.ate_m.rmse:.1f} mm, tilt {np.rad2deg(s.tilt_rad):.3f}°, scale {100 * (s.scale - 1):+.2f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench/imu_in_use"))
    parser.add_argument("--share", type=float, default=1.0, help="Of the errors that an uncalibrated part has.")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[list[float]] = []
    for seed in range(args.first_seed, args.first_seed + args.takes):
        folder = args.out / f"kitchen-{seed}"
        if not folder.exists():
            sim.simulate(folder, seconds=args.seconds, seed=seed, params=sim.SimulationParams(imu=part(args.share)))
        rig = session.read(folder).rig
        device = rig.devices["head"]
        told = json.loads((folder / "truth/truth.json").read_text())["imus"]["head"]
        R = device.R_imu_chip
        R_true_ours = R @ axes_of_ours(R.T @ np.array(told["accel_matrix"]) @ R) @ R.T
        session.write_rig(
            args.out / f"rig-{seed}.json", rig_with(rig, calibrated(device, part(args.share)), R_true_ours)
        )
        before = scored(folder, None, np.eye(3))
        after = scored(folder, args.out / f"rig-{seed}.json", R_true_ours)
        print(f"kitchen {seed}: without {words(before)} | with {words(after)}", flush=True)
        if before is not None and after is not None:
            rows.append([before.ate_m.rmse, after.ate_m.rmse, before.tilt_rad, after.tilt_rad])
    if not rows:
        print(f"virtual rig: none of {args.takes} takes could be reconstructed without")
        return
    x = np.array(rows)
    ate, tilt = 1e3 * np.median(x[:, :2], axis=0), np.rad2deg(np.median(x[:, 2:], axis=0))
    print(
        f"virtual rig, {len(x)} takes with both: ATE {ate[0]:.1f} -> {ate[1]:.1f} mm (better in "
        f"{int((x[:, 1] < x[:, 0]).sum())}), tilt {tilt[0]:.3f} -> {tilt[1]:.3f}° (better in "
        f"{int((x[:, 3] < x[:, 2]).sum())})"
    )


if __name__ == "__main__":
    main()
