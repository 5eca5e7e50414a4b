"""From a camera and IMU recording to a trajectory: import, reconstruct, read the result.

    python examples/01_reconstruct_a_recording.py RECORDING OUT

RECORDING is an ASL folder, the layout of EuRoC: mav0/cam0, mav0/imu0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from handcap import session
from handcap.formats.euroc import import_euroc
from handcap.reconstruct import run_session


def main(recording: Path, out: Path) -> None:
    report = import_euroc(recording, out)
    print(f"{report.frames} pictures, {report.imu_samples} IMU samples over {report.duration_s:.1f} s")
    for finding in report.findings:  # what was odd about the recording, by file and line
        print(f"  {finding.text()}")

    for result in run_session(out):
        print(f"take {result.take}: {result.verdict}")
        for cause in result.causes:
            print(f"  {cause.text('en')}\n    → {cause.mend('en')}")
        if result.verdict == "refused":
            continue
        folder = session.read(out).derived(result.take, "reconstruct")
        head = session.read_trajectory(folder / "head.parquet")
        last = np.flatnonzero(head.tracked)[-1]
        sigma_mm = 1e3 * np.sqrt(np.diag(head.cov[last])[3:])  # cov is [rotation, position], in body axes
        print(f"  {head.tracked.sum()} of {len(head)} pictures have a pose")
        print(f"  the last is at {np.round(head.T_world_body[last, :3, 3], 3)} m, sigma {np.round(sigma_mm, 1)} mm")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
