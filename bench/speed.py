"""Seconds of reconstruction per second of 20 Hz video, against the limit of 1.0, stage by stage.

Runs on the real recording `vio/euroc_mh01_head` when the data folder is there, and on a 30 s take of the virtual rig.
Each is reconstructed by the command line in a process of its own, as a user would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LIMIT = 1.0
OUT = Path("out/bench/speed")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("HANDCAP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    recording = data / "vio/euroc_mh01_head"
    takes = {"virtual rig, 30 s": ["simulate", str(OUT / "virtual"), "--seconds", "30", "--dt-imu-cam-ms", "8"]}
    if recording.is_dir():
        takes["euroc_mh01_head (real), 9.2 s"] = ["import", "euroc", str(recording), str(OUT / "mh01")]
    for name, make in takes.items():
        folder = Path(make[1] if make[0] == "simulate" else make[3])
        if not folder.exists():
            _handcap(*make)
        _handcap("reconstruct", str(folder))
        timing = json.loads((folder / "derived/0001/reconstruct/timing.json").read_text())
        per_second = timing["seconds_per_second"]
        print(f"{name}: {per_second:.2f} s per second, {per_second / LIMIT:.2f} of the limit ({os.cpu_count()} cores)")
        for stage, seconds in timing["seconds"].items():
            print(f"    {stage:28s} {seconds:7.2f} s")


def _handcap(*arguments: str) -> None:
    subprocess.run([str(Path(sys.executable).with_name("handcap")), *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
