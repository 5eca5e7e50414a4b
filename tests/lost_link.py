"""One take from a real camera node whose link is cut meanwhile. Run in a network namespace of its own:

unshare --user --map-root-user --net python lost_link.py NODE JPEGS OUT CUT_S
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from recording import RIG, session_meta

from handcap.capture import Capture
from handcap.devices import open_board

PORT = 7047


def link(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def main(program: str, jpegs: str, out: str, cut_s: float) -> None:
    """Two seconds, the cut, one second; prints what the host knows of it."""
    link("up")
    with subprocess.Popen([program, "--port", str(PORT), "--imu", "none", "--source", jpegs, "--rate", "30"]) as node:
        time.sleep(0.5)
        try:
            with open_board(f"tcp://127.0.0.1:{PORT}") as board:
                rig = replace(RIG, cameras={"head": RIG.cameras["head"]})
                with Capture(Path(out), session_meta("capture"), rig, {"node": board}, field_pass=False) as running:
                    running.ready()
                    running.start()
                    time.sleep(2)
                    link("down")
                    time.sleep(cut_s)
                    link("up")
                    time.sleep(1)
                    ended = running.end()
                    camera = ended.watched.cameras["head"]
                    told = {
                        "outages": [asdict(one) for one in board.outages],
                        "losses": board.losses.as_dict(),
                        "pictures": camera.pictures,
                        "lost": camera.lost,
                        "causes": [cause.code for cause in ended.verdict.causes],
                        "length_s": ended.watched.length_s,
                        "events": [event.kind for event in board.events],
                    }
        finally:
            node.terminate()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]))
