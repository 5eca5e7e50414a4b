"""How many bare hands the head's pictures show, counted while a take runs by a process of its own, last in line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap import models
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.look import Encoding
from handcap.child import last_in_line, let_end
from handcap.clock import NS_PER_S
from handcap.session.pictures import Packet, decode_picture, decode_video
from handcap.types import SIDES, MountedCamera, Rig

LOOK_EVERY_NS = NS_PER_S  # of each camera
_PATIENCE_S = 2.0


@dataclass(frozen=True, eq=False, slots=True)
class _Offered:
    watched: CameraWatch
    camera: str
    t_ns: int
    data: bytes
    encoding: Encoding


class HandWatch:
    """Counts hands in pictures of the head's cameras; a picture offered while it counts is not looked at.

    Raises ModelError when the weights of the network that finds them are not fetched.
    """

    def __init__(self, rig: Rig) -> None:
        models.path(models.HAND_LANDMARKER)
        self._mounts = {name: mount for name, mount in rig.cameras.items() if mount.device == "head"}
        self._due_ns = dict.fromkeys(self._mounts, 0)
        self._offered: _Offered | None = None
        self._changed = threading.Condition()
        self._closing = False
        command = [*last_in_line(), sys.executable, "-P", "-c", "from handcap.capture.hand_watch import main; main()"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the recorder's
        )
        self._thread = threading.Thread(target=self._run, name="handcap hand watch", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def offer(self, watched: CameraWatch, camera: str, t_ns: int, data: bytes, encoding: Encoding) -> None:
        """A picture that can be decoded alone; its count is told to the camera's watch when it is there."""
        with self._changed:
            if self._closing or self._offered is not None or t_ns < self._due_ns.get(camera, t_ns + 1):
                return
            self._due_ns[camera] = t_ns + LOOK_EVERY_NS
            self._offered = _Offered(watched, camera, t_ns, data, encoding)
            self._changed.notify_all()

    def begin(self) -> None:
        """A take begins, whose clock may be another."""
        with self._changed:
            self._due_ns = dict.fromkeys(self._mounts, 0)

    def wait(self, timeout_s: float) -> None:
        """Until what was offered is counted."""
        with self._changed:
            self._changed.wait_for(lambda: self._offered is None, timeout_s)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._process.kill()
        self._thread.join()
        let_end(self._process, _PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _run(self) -> None:
        try:
            self._ask(self._mounts)
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._offered is not None or self._closing)
                    offered = self._offered
                if offered is None or self._closing:
                    return
                count = self._ask((offered.camera, offered.data, offered.encoding))
                with self._changed:
                    if count is not None:
                        offered.watched.saw_hands(offered.t_ns, count)
                    self._offered = None
                    self._changed.notify_all()
        except (OSError, EOFError, pickle.UnpicklingError):  # it is gone: hands are not told of any more
            with self._changed:
                self._closing, self._offered = True, None
                self._changed.notify_all()

    def _ask(self, what: Any) -> int | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        pickle.dump(what, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)


def main() -> None:
    """The process: the cameras first, then pictures, from stdin; for each how many hands it shows, to stdout."""
    from handcap.reconstruct.hands.follow import Follower
    from handcap.reconstruct.hands.mediapipe_detector import MediapipeDetector

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between
    mounts: Mapping[str, MountedCamera] = pickle.load(sys.stdin.buffer)
    with MediapipeDetector() as detector:
        follower = Follower(detector, mounts, SIDES, 0)
        answer: int | None = None  # it is ready
        while True:
            pickle.dump(answer, out)
            out.flush()
            try:
                camera, data, encoding = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            picture = _decoded(data, encoding)
            lens = mounts[camera].camera
            fits = picture is not None and picture.shape[:2] == (lens.height, lens.width)
            answer = len(follower.look(camera, picture)) if picture is not None and fits else None


def _decoded(data: bytes, encoding: Encoding) -> NDArray[np.uint8] | None:
    """A picture that can be decoded alone, (height, width, 3); None where it does not decode."""
    if encoding == "jpeg":
        return decode_picture(data, grey=False)
    return next((picture for _, picture in decode_video([Packet(0, "h264", data)], grey=False)), None)
