"""Does the covariance hold the truth? Pooled over simulated takes of 10 s on the virtual rig.

Each take is simulated (kept, so that a second run is quick), reconstructed and scored as docs/design.md defines it:
yaw and position aligned at the first row, rows more than 1 s later, the 95 % ellipsoid of position.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from handcap import session, sim
from handcap.geometry import interpolate_poses
from handcap.reconstruct import run_session
from handcap.reconstruct.score import pooled, relative_honesty, score

DT_IMU_CAM_S = (0.0, 0.008, -0.005, 0.015)  # in turn: nobody's clocks agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--takes", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench/honesty"))
    args = parser.parse_args()

    absolute, relative = [], []
    print("virtual rig; seed, verdict, tracked %, ATE mm, scale, tilt deg, offset error ms (sigma), held %, 1 s held %")
    for k in range(args.takes):
        seed, dt_s = args.first_seed + k, DT_IMU_CAM_S[k % len(DT_IMU_CAM_S)]
        folder = args.out / f"{seed}-{args.seconds:g}s"
        if not folder.exists():
            args.out.mkdir(parents=True, exist_ok=True)
            sim.simulate(folder, seconds=args.seconds, seed=seed, dt_imu_cam_s=dt_s)
        (result,) = run_session(folder)
        if result.verdict == "refused":
            print(f"{seed:5d} refused: {[c.text() for c in result.causes]}", flush=True)
            continue
        estimate = session.read_trajectory(folder / "derived/0001/reconstruct/head.parquet")
        truth = session.read_trajectory(folder / "truth/head_imu.parquet")
        found = score(truth, estimate)
        held = found.honesty
        rows = estimate.tracked_only()
        T_truth = interpolate_poses(truth.t_ns, truth.T_world_body, rows.t_ns)
        sigma_m = result.report["rel_sigma_1s"]["head"]
        moved = relative_honesty(rows.t_ns, T_truth, rows.T_world_body, sigma_m)
        absolute.append(held)
        relative.append(moved)
        offset_ms = 1e3 * (result.report["time_offset_s"]["head"] - dt_s)
        sigma_ms = 1e3 * result.report["time_offset_sigma_s"]["head"]
        print(
            f"{seed:5d} {result.verdict:7s} {100 * found.coverage:5.1f} {1e3 * found.ate_m.rmse:6.2f} "
            f"{found.scale:.4f} "
            f"{np.rad2deg(found.tilt_rad):.3f} {offset_ms:+.3f} ({sigma_ms:.3f}) {100 * held.fraction:5.1f} "
            f"{100 * moved.fraction:5.1f}  NEES/3 {np.mean(held.nees) / 3:.2f} {np.mean(moved.nees) / 3:.2f}",
            flush=True,
        )
    for name, takes in (("absolute position", absolute), ("motion over 1 s", relative)):
        share, low, high = pooled(takes)
        print(
            f"virtual rig, {len(takes)} takes: the 95 % ellipsoid of {name} holds {100 * share:.1f} % "
            f"(bootstrap over takes {100 * low:.1f} to {100 * high:.1f} %; aim 85 to 99 %)"
        )


if __name__ == "__main__":
    main()
