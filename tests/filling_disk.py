"""A take on a disk that fills up meanwhile. Run in a mount namespace of its own:

unshare --user --map-root-user --mount python filling_disk.py MOUNT_POINT
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

from recording import RIG, jpeg, session_meta

from handcap import session as session_store
from handcap.capture import Capture, CaptureParams
from handcap.capture.operator import Operator, Said, Wishes
from handcap.capture.room import RoomParams
from handcap.capture.worn import Worn, WornParams

MB = 1_000_000
# Minutes of a full rig on a laptop's disk, made seconds on one of 40 MB.
ROOM = RoomParams(reserve_bytes=8 * MB, warn_minutes=(0.06, 0.04), start_minutes=0.05, end_s=1.5, window_s=3.0)


def main(mount_point: str) -> None:
    """Five megabytes a second until the recorder ends the take; prints what was said, and what is on the disk."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", mount_point], check=True)
    out = Path(mount_point) / "session"
    heard: list[Said] = []

    class Ears:
        def hear(self, said: Said) -> None:
            heard.append(said)

    wishes: Wishes = SimpleQueue()
    picture = jpeg(0, 320, 240)
    with Capture(out, session_meta("capture"), RIG, {}, CaptureParams(room=ROOM), field_pass=False) as running:
        operator = Operator(running, wishes, listeners=[Ears()])
        listening = threading.Thread(target=operator.run, daemon=True)
        with Worn(running, operator.tell, wishes, WornParams(look_s=0.25)):
            listening.start()
            wishes.put("start")
            until = time.monotonic() + 60
            k = 0
            while not any(one.kind == "ended" for one in heard) and time.monotonic() < until:
                k += running.recorder.recording
                running.recorder.put_picture("head", time.monotonic_ns(), picture, "jpeg")
                time.sleep(len(picture) / (5 * MB))
            measured = running.room.bytes_per_s
            wishes.put("start")
            time.sleep(0.5)
            wishes.put("finish")
            listening.join(10)
    session = session_store.read(out)
    told = {
        "said": [(one.kind, one.sentence["en"]) for one in heard],
        "states": {take: record.state for take, record in session.journal().items()},
        "pictures": len(session.take("0001").camera_stamps("head")),
        "dropped": running.recorder.dropped.pictures.get("head", 0),
        "put": k,
        "bytes_per_s": measured,
        "left": running.room.free_bytes() + ROOM.reserve_bytes,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
