"""Export a reconstructed session for robot learning, and measure it where a ground truth exists.

    python examples/02_export_and_compare.py SESSION OUT [TRUTH.txt]

TRUTH.txt is a TUM trajectory (t x y z qx qy qz qw) of the same body on the same clock.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from handcap import session
from handcap.formats.lerobot import LeRobotParams, export_lerobot
from handcap.formats.tum import export_tum, read_tum
from handcap.reconstruct.score import score


def main(path: Path, out: Path, truth: Path | None = None) -> None:
    opened = session.read(path)
    dataset = export_lerobot(opened, out / "lerobot", params=LeRobotParams(action="relative"))
    print(f"{dataset.folder}: {dataset.episodes} episodes, {dataset.frames} frames at {dataset.fps} a second")
    trajectories = export_tum(opened, out / "tum")
    for file in trajectories.files:
        print(file)
    if truth is not None:
        scored = score(read_tum(truth), read_tum(trajectories.files[0]))
        tilt_deg = np.rad2deg(scored.tilt_rad)
        print(f"position error {1e3 * scored.ate_m.rmse:.1f} mm rms, gravity off by {tilt_deg:.2f}°")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
