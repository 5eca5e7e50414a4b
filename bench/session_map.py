"""Takes of one session: are they found in each other's rooms, how far off, and do they know it?

Virtual sessions of a head, scene after scene, fresh seeds, several takes each. Every session is simulated (kept, so
that a second run is quick) and reconstructed take by take. Off: where the session's map puts a take's origin, against
the exact transform between the two worlds, which the truth of both takes gives.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from handcap import session, sim
from handcap.geometry import Array, inverse
from handcap.reconstruct import run_session
from handcap.reconstruct.find_room import find
from handcap.reconstruct.score import yaw_alignment
from handcap.reconstruct.session_map import ROOM_FILE, read_room
from handcap.sim.person import HeadParams
from handcap.sim.scenes import SCENES

CHI2_4_95 = 9.488


def T_truth_world(folder: Path, take: str) -> Array:
    """(4, 4) of a take's world in the truth's: turn about z and shift, held together where the take's gauge is."""
    estimate = session.read_trajectory(folder / "derived" / take / "reconstruct/head.parquet").tracked_only()
    truth = session.read_trajectory(folder / "truth" / ("" if take == "0001" else take) / "head.parquet")
    # Position and yaw are exactly known at the first keyframe and nowhere else.
    row = int(np.argmin(np.trace(estimate.cov[:, 3:, 3:], axis1=1, axis2=2)))
    same = int(np.searchsorted(truth.camera_t_ns, estimate.camera_t_ns[row]))
    return inverse(yaw_alignment(truth.T_world_body[same], estimate.T_world_body[row]))


def off(told: dict, T_true: Array) -> Array:
    """(4,) yaw, x, y, z: truth less estimate, rad and m."""
    T = np.array(told["T_session_world"])
    turn = T[:3, :3].T @ T_true[:3, :3]
    return np.r_[np.arctan2(turn[1, 0], turn[0, 0]), T_true[:3, 3] - T[:3, 3]]


def search_s(folder: Path, take: str, anchor: str) -> float:
    """How long it takes to look for one take in the room of another."""
    derived = [folder / "derived" / id / "reconstruct" for id in (take, anchor)]
    rooms = [read_room(each / ROOM_FILE)[0] for each in derived]
    poses = [session.read_trajectory(each / "head.parquet") for each in derived]
    start = time.perf_counter()
    find(*rooms, *poses)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--takes", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=900)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("out/bench/session_map"))
    args = parser.parse_args()
    scenes = sorted(name for name in SCENES if name != "bench")
    metres: list[float] = []
    degrees: list[float] = []
    squares: list[float] = []
    clock_ms: list[float] = []
    took_s: list[float] = []
    tried = 0
    for k in range(args.sessions):
        seed, scene = args.first_seed + k, scenes[k % len(scenes)]
        folder = args.out / f"{scene}-{seed}"
        if not folder.exists():
            args.out.mkdir(parents=True, exist_ok=True)
            params = sim.SimulationParams(later=(HeadParams(),) * (args.takes - 1))
            sim.simulate(folder, scene=scene, seconds=args.seconds, seed=seed, dt_imu_cam_s=0.008, params=params)
        for result in run_session(folder):
            told, line = result.report["session_map"], f"{scene:10s} {seed} {result.take} {result.verdict:7s}"
            offset_s = result.report["time_offset_s"]["head"]
            if offset_s is not None:
                clock_ms.append(1e3 * (offset_s - 0.008))
                line += f" clock off {clock_ms[-1]:+.3f} ms"
            if result.verdict == "refused" or (told and told["take"] == result.take):
                print(line, flush=True)
                continue
            tried += 1
            if told is None:
                print(f"{line} {result.report['session_map_note']}", flush=True)
                continue
            error = off(told, inverse(T_truth_world(folder, told["session"])) @ T_truth_world(folder, result.take))
            squares.append(float(error @ np.linalg.solve(told["cov"], error)))
            metres.append(float(np.linalg.norm(error[1:])))
            degrees.append(abs(float(np.rad2deg(error[0]))))
            took_s.append(search_s(folder, result.take, told["take"]))
            size = (folder / "derived" / result.take / "reconstruct" / ROOM_FILE).stat().st_size
            print(
                f"{line} in {told['take']}: off {1e3 * metres[-1]:.1f} mm, {degrees[-1]:.3f}°, "
                f"{squares[-1]:.1f} (95 % below {CHI2_4_95}), {told['inliers']} of {told['matches']} points agree to "
                f"{1e3 * told['residual_m']:.0f} mm; searched in {took_s[-1]:.2f} s, {size / 1e6:.1f} MB",
                flush=True,
            )
    print(f"{args.sessions} virtual sessions: {len(metres)} of {tried} later takes found")
    if metres:
        print(f"  position: median {1e3 * np.median(metres):.1f} mm, worst {1e3 * np.max(metres):.1f} mm")
        print(f"  yaw: median {np.median(degrees):.3f}°, worst {np.max(degrees):.3f}°")
        print(f"  95 % regions hold {100 * np.mean(np.array(squares) <= CHI2_4_95):.0f} %")
        print(f"  searching: median {np.median(took_s):.2f} s, longest {np.max(took_s):.2f} s")
    print(f"  clock: rms {np.sqrt(np.mean(np.square(clock_ms))):.3f} ms")


if __name__ == "__main__":
    main()
