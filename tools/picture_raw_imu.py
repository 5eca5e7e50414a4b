"""Draws docs/raw_imu.png: what an uncalibrated motion sensor of the virtual rig says beside the truth.

handcap simulate take --scene kitchen --rig head --task look --seed 300 --seconds 10 --dt-imu-cam-ms 8 --raw-imu
python tools/picture_raw_imu.py take docs/raw_imu.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

from handcap import session
from handcap.types import ImuCalibration

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def main(folder: Path, out: Path) -> None:
    truth = json.loads((folder / "truth/truth.json").read_text())["imus"]["head"]
    gyro, accel, by_force = (np.array(truth[k]) for k in ("gyro_matrix", "accel_matrix", "gyro_g_sensitivity"))
    sensor = ImuCalibration(gyro, np.zeros(3), accel, np.zeros(3), by_force)  # biases are found anyway
    imu = session.read(folder).take("0001").imu("head")
    true = sensor.corrected(imu.gyro_imu, imu.accel_imu)
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), dpi=110, layout="constrained")
    units = (("turn", "rad/s", 1e3, "mrad/s"), ("specific force", "m/s²", 1.0, "m/s²"))
    for axes, read, exact, (what, unit, times, small) in zip(
        panels, (imu.gyro_imu, imu.accel_imu), true, units, strict=True
    ):
        for axis, colour in zip(range(3), ("#c1621b", "#2a7f5f", "#3b5fa8"), strict=True):
            axes.plot(exact[:, axis], times * (read - exact)[:, axis], ".", ms=2, color=colour, label="xyz"[axis])
        axes.set_xlabel(f"true {what}, {unit}")
        axes.set_ylabel(f"reading less truth, {small}")
        axes.grid(alpha=0.3)
        axes.legend(markerscale=4, frameon=False)
    figure.suptitle("Virtual rig: scale, misalignment and g-sensitivity of a sensor nobody calibrated", fontsize=10)
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
