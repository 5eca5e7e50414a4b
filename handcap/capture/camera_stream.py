"""A camera of this computer or of the network, carried to the recorder: opened, listened to, found again when lost."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from handcap.capture.recorder import Recorder
from handcap.capture.watch import Watch
from handcap.clock import NS_PER_S
from handcap.devices.video_input import Given, Picture, Silent, VideoInput
from handcap.devices.video_opening import InputParams
from handcap.devices.video_source import Asked, VideoSource, found_again
from handcap.errors import DeviceError

log = logging.getLogger(__name__)

CameraEventKind = Literal["camera_silent", "camera_gone", "camera_back", "camera_changed", "camera_slow"]
_KEPT_EVENTS = 256


@dataclass(frozen=True, slots=True)
class CameraStreamParams:
    """How a camera is kept.

    Attributes:
        input: how it is listened to.
        again_s: before the first attempt to find a lost camera; doubled by each that fails.
        again_most_s: and no longer than this.
        measured: pictures between two looks at the rate.
        rate_off: share by which the rate may be off what was asked.
    """

    input: InputParams = field(default_factory=InputParams)
    again_s: float = 0.25
    again_most_s: float = 2.0
    measured: int = 60
    rate_off: float = 0.1


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """Something that happened to a camera.

    Attributes:
        kind: what.
        t_ns: when, session clock.
        text: more, in English.
    """

    kind: CameraEventKind
    t_ns: int
    text: str


class CameraStream:
    """One camera, listened to until it is closed.

    Args:
        camera: its name in the rig.
        source: where it is.
        asked: of it.
        recorder: gets every picture.
        watch: is told of every picture.
        params: how.

    Attributes:
        given: what it gives; None before it was first open.
        rate_hz: as its pictures come; None before enough have.
    """

    def __init__(
        self,
        camera: str,
        source: VideoSource,
        asked: Asked,
        recorder: Recorder,
        watch: Watch,
        params: CameraStreamParams | None = None,
    ) -> None:
        self.camera, self.source, self.asked = camera, source, asked
        self.params = params or CameraStreamParams()
        self.given: Given | None = None
        self.rate_hz: float | None = None
        self._recorder, self._watch = recorder, watch
        self._events: deque[CameraEvent] = deque(maxlen=_KEPT_EVENTS)
        self._news: deque[CameraEvent] = deque(maxlen=_KEPT_EVENTS)
        self._stamps: deque[int] = deque(maxlen=self.params.measured + 1)
        self._slow = False
        self._last_ns = -1
        self._open = threading.Event()
        self._tried = threading.Event()  # with or without success
        self._closing = threading.Event()
        self._error: DeviceError | None = None
        self._thread = threading.Thread(target=self._run, name=f"handcap camera {camera}", daemon=True)
        self._thread.start()

    @property
    def streaming(self) -> bool:
        """Whether pictures come."""
        return self._open.is_set()

    @property
    def events(self) -> list[CameraEvent]:
        """The last ones, oldest first."""
        return list(self._events)

    def news(self) -> list[CameraEvent]:
        """Events since this was last asked."""
        news: list[CameraEvent] = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def wait_streaming(self, timeout_s: float) -> None:
        """Wait for its first picture, or for the first refusal. Raises DeviceError with what came instead."""
        self._tried.wait(timeout_s)
        if self._open.is_set():
            return
        raise self._error or DeviceError(
            "the camera is not open yet",
            where=self.source.shown,
            mend="wait a moment and start again",
            cause="camera_silent",
        )

    def close(self) -> None:
        """Stop, and let go of the camera."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait_s = self.params.again_s
        while not self._closing.is_set():
            try:
                self.source = found_again(self.source)
                with VideoInput(self.source, self.asked, self.params.input) as opened:
                    wait_s = self.params.again_s
                    self._opened(opened.given)
                    self._listen(opened)
            except DeviceError as error:
                self._refused(error)
            except Silent as error:
                self._lost("camera_silent", str(error))
            except ConnectionError as error:
                self._lost("camera_gone", str(error))
            except Exception as error:
                log.exception("camera %s: listening broke", self.camera)
                self._lost("camera_gone", repr(error))
            self._closing.wait(wait_s)
            wait_s = min(2 * wait_s, self.params.again_most_s)

    def _opened(self, given: Given) -> None:
        before, self.given = self.given, given
        self._error = None
        self._stamps.clear()
        if before is not None:
            self._note("camera_back", f"pictures come again from {self.source.shown}")
            if before != given:
                self._note("camera_changed", f"it gave {told(before)}, and now {told(given)}")
        self._open.set()
        self._tried.set()

    def _listen(self, opened: VideoInput) -> None:
        for picture in opened.pictures():
            if self._closing.is_set():
                return
            if picture is not None:
                self._take_in(picture, opened.given)

    def _take_in(self, picture: Picture, given: Given) -> None:
        t_ns = max(picture.t_ns, self._last_ns + 1)
        self._last_ns = t_ns
        encoding = "h264" if given.format == "h264" else "jpeg"
        self._recorder.put_picture(self.camera, t_ns, picture.data, encoding, key=picture.key)
        self._watch.picture(self.camera, t_ns, picture.data, encoding, None)
        self._stamps.append(t_ns)
        if len(self._stamps) > self.params.measured:
            self._measure()

    def _measure(self) -> None:
        """The rate of the last pictures, and a word where it is not what was asked."""
        self.rate_hz = (len(self._stamps) - 1) * NS_PER_S / max(self._stamps[-1] - self._stamps[0], 1)
        self._stamps.clear()
        wanted = self.asked.rate_hz
        slow = wanted is not None and abs(self.rate_hz - wanted) > self.params.rate_off * wanted
        if slow and not self._slow:
            self._note("camera_slow", f"gives {self.rate_hz:.1f} pictures a second, and {wanted:g} are asked for")
        self._slow = slow

    def _refused(self, error: DeviceError) -> None:
        """It cannot be opened; where it could before, and is there again, that is said, but not with every attempt."""
        before, self._error = self._error, error
        again = self.given is not None and error.cause != "camera_missing"
        if again and (before is None or before.what != error.what):
            self._note("camera_changed", error.what)
        self._tried.set()

    def _lost(self, kind: CameraEventKind, why: str) -> None:
        if self._closing.is_set():
            return
        self._open.clear()
        self._error = DeviceError(
            "no pictures come" if kind == "camera_silent" else f"the camera is gone ({why})",
            where=self.source.shown,
            mend="check its cable or its network; it is taken up again by itself",
            cause="camera_silent",
        )
        self._note(kind, why)

    def _note(self, kind: CameraEventKind, text: str) -> None:
        event = CameraEvent(kind, time.monotonic_ns(), text)
        self._events.append(event)
        self._news.append(event)
        log.warning("camera %s: %s", self.camera, text)
        self._recorder.put_fault(kind, text, event.t_ns, self.camera)


def told(given: Given) -> str:
    """What a camera gives, in words."""
    rate = "" if given.rate_hz is None else f" at {given.rate_hz:g} Hz"
    by = {"kernel": "stamped by the kernel", "arrival": "stamped on arrival"}[given.stamps]
    return f"{given.format} {given.size[0]}×{given.size[1]}{rate}, {by}"
