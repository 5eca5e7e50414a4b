"""Runs ORB-SLAM3, monocular-inertial, over an ASL folder. For the peer's own Python (requirements.txt), not for ours.

Pictures come at their recorded pace, as in its authors' own runs: its map is built by a thread beside the tracking and
gets no time otherwise. Leaves in OUT what ORB-SLAM3 saves, frames.txt and keyframes.txt (ns, the first picture at
LEAD_S; metres; quaternion w last), and status.json, which tells how it went even where nothing could be saved.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pyorbslam3  # pyright: ignore[reportMissingImports]

LEAD_S = 10.0  # the first picture's time: small numbers, since ORB-SLAM3 writes ns through a float64; none negative
LEAD_IN_S = 0.05  # inertial samples given with the first picture


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return [[field.strip() for field in row] for row in csv.reader(file) if row and not row[0].startswith("#")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mav0", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("settings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--unpaced", action="store_true", help="pictures as fast as they are tracked")
    args = parser.parse_args()

    pictures = [(int(row[0]), row[1]) for row in _rows(args.mav0 / "cam0/data.csv")]
    imu_rows = _rows(args.mav0 / "imu0/data.csv")
    start_ns = pictures[0][0]
    imu = np.array([[(int(row[0]) - start_ns) * 1e-9 + LEAD_S, *map(float, row[1:7])] for row in imu_rows])

    began = time.perf_counter()
    slam = pyorbslam3.Slam(args.vocabulary, args.settings, pyorbslam3.Sensor.IMU_MONOCULAR)
    status: dict[str, float | int | bool | None] = {"load_s": time.perf_counter() - began}
    posed = 0
    scaled_after_s: float | None = None
    previous_s = LEAD_S - LEAD_IN_S
    began = time.perf_counter()
    for stamp_ns, name in pictures:
        t_s = (stamp_ns - start_ns) * 1e-9 + LEAD_S
        image = cv2.imread(str(args.mav0 / "cam0/data" / name), cv2.IMREAD_GRAYSCALE)
        assert image is not None, name
        if not args.unpaced:
            time.sleep(max(0.0, t_s - LEAD_S - (time.perf_counter() - began)))
        due = imu[(imu[:, 0] > previous_s) & (imu[:, 0] <= t_s)]
        result = slam.track_monocular(image, t_s, imu=due)
        posed += bool(result.pose_valid)
        if not slam.imu_initialized():
            scaled_after_s = None  # also when its map was dropped and begun anew
        elif scaled_after_s is None:
            scaled_after_s = t_s - LEAD_S
        previous_s = t_s
    status |= {
        "tracking_s": time.perf_counter() - began,
        "posed_live": posed,
        "scaled": slam.imu_initialized(),
        "scaled_after_s": scaled_after_s,
    }
    slam.shutdown()
    (args.out / "status.json").write_text(json.dumps(status))
    if status["scaled"]:  # without a map there is nothing to save, and trying crashes
        slam.save_trajectory_euroc(str(args.out / "frames.txt"))
        slam.save_keyframe_trajectory_euroc(str(args.out / "keyframes.txt"))


if __name__ == "__main__":
    main()
