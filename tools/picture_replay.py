"""Pictures of a replay as the Rerun viewer shows it, without a display.

`python tools/picture_replay.py REPLAY.rrd PICTURE.png [SECONDS ...]`: of its end, or of each time given (PICTURE_0.png
and so on). Needs a graphics card or Mesa's software one (Debian: mesa-vulkan-drivers).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rerun.experimental import ViewerClient

_SETTLE_S = 6.0  # a software renderer draws a frame or two a second
_PORT = 9897


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("replay", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("seconds", type=float, nargs="*")
    args = parser.parse_args()
    os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")
    rerun = Path(sys.executable).with_name("rerun")
    viewer = ViewerClient.spawn(headless=True, port=_PORT, executable_path=str(rerun), hide_welcome_screen=True)
    try:
        time.sleep(_SETTLE_S / 2)
        viewer.open(str(args.replay.resolve()))
        for k, seconds in enumerate(args.seconds or [None]):
            if seconds is not None:
                viewer.set_time("take", duration=seconds, play_state="paused")
            time.sleep(_SETTLE_S)
            name = args.picture if seconds is None else args.picture.with_stem(f"{args.picture.stem}_{k}")
            viewer.save_screenshot(str(name.resolve()))
            print(name)
    finally:
        viewer.quit()


if __name__ == "__main__":
    main()
