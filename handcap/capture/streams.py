"""What is plugged in, carried to the recorder: a thread for each board and node."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from handcap.capture.recorder import Recorder
from handcap.capture.watch import Watch
from handcap.clock import NS_PER_S
from handcap.devices import Board, Message
from handcap.errors import DeviceError, HandcapError
from handcap.session.pictures import is_key
from handcap.wire.handcap_pb2 import Envelope, VideoFrame

log = logging.getLogger(__name__)

_FIT_EVERY_NS = NS_PER_S // 2
_BEFORE_NS = NS_PER_S // 2  # how much older than its take a picture may be: clocks are not known to the nanosecond
_STAMPS = {
    "imu_batch": "first_sample_t_ns",
    "encoder": "first_sample_t_ns",
    "frame_stamp": "exposure_start_t_ns",
    "video_frame": "capture_t_ns",
}
_LATEST_NS = 3600 * NS_PER_S  # a node holds pictures back for minutes while its link is gone
_EARLIEST_NS = NS_PER_S  # before it was taken no picture arrives, but for an error of the clock fit
_LAST_NS = 1 << 62


class BoardStream:
    """One board or node, listened to until it is closed.

    Args:
        device: its name in the rig; what it says is kept under that name.
        board: open.
        cameras: names of the rig; pictures of others are counted as faults and left out.
        recorder: gets everything.
        watch: is told of everything.

    Attributes:
        until_ns: what was taken later, session clock, is left out: the take is over and waits for a lost link. None
            while there is no such end.
        newest_ns: when the newest picture that was handed over was taken, session clock; None before the first.
        listeners: hear every message, in the order sent, without its picture; they are to return at once.
    """

    def __init__(self, device: str, board: Board, cameras: Collection[str], recorder: Recorder, watch: Watch) -> None:
        self.device, self.board = device, board
        self._cameras, self._recorder, self._watch = cameras, recorder, watch
        self._boot_id = 0
        self._fit_due_ns = self._stray_due_ns = 0
        self._events = 0
        self._closing = threading.Event()
        self.listeners: list[Callable[[Envelope], None]] = []
        self.error: HandcapError | None = None
        self.until_ns: int | None = None
        self.newest_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"handcap {device}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and let go of the board."""
        self._closing.set()
        self._thread.join()
        self.board.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                for message in self.board.receive(0.2):
                    self._take_in(message)
                self._note_events()
        except HandcapError as error:
            self._broke(error)
        except Exception as error:
            log.exception("%s: its stream broke", self.device)
            self._broke(DeviceError(f"its stream broke ({error!r})", where=self.device, mend="report this as a bug"))

    def _broke(self, error: HandcapError) -> None:
        """Nothing more comes from here; the take that runs tells so."""
        self.error = error
        log.warning("%s: %s", self.device, error)
        self._recorder.put_fault("stream_broke", error.what, time.monotonic_ns(), self.device)

    def _take_in(self, message: Message) -> None:
        envelope, arrived_ns = message.envelope, message.arrived_ns
        self._boot_id = envelope.boot_id
        data = b""
        if message.body == "video_frame":
            data = envelope.video_frame.data
            envelope.video_frame.ClearField("data")  # the picture lies under its camera's name
        for hear in self.listeners:
            hear(envelope)
        if self.until_ns is not None and self._ended_by(message) > self.until_ns:
            self._note_newest(message)
            return
        if message.body == "video_frame":
            self._picture(envelope.video_frame, data, message)
        self._recorder.put_message(self.device, arrived_ns, envelope)
        self._watch.message(self.device, message)
        if arrived_ns >= self._fit_due_ns:
            self._fit_due_ns = arrived_ns + _FIT_EVERY_NS
            self.put_fit()

    def _ended_by(self, message: Message) -> int:
        """What decides whether a message is of a take that is over: a node's may come late, a board's never does."""
        late = message.body == "video_frame" or self.board.hello.board == "node"
        return self._taken_ns(message) if late else message.arrived_ns

    def _taken_ns(self, message: Message) -> int:
        """When what a message tells of happened, session clock; when it came, where nobody knows."""
        stamp = _STAMPS.get(message.body)
        clock = self.board.clock_of(message.epoch) or self.board.clock
        if stamp is None or clock is None:
            return message.arrived_ns
        return int(clock.session_ns(min(getattr(getattr(message.envelope, message.body), stamp), _LAST_NS)))

    def _note_newest(self, message: Message) -> int:
        t_ns = self._taken_ns(message)
        if message.body == "video_frame":
            self.newest_ns = t_ns
        return t_ns

    def put_fit(self) -> None:
        """Journal what is known of the board's clock now."""
        clock = self.board.clock
        if clock is None:
            return
        fit = clock.for_journal(clock.last_board_ns)
        self._recorder.put_clock_fit(
            self.device, fit.t_ns, fit.dt_session_device_s, fit.skew, clock.residual_s, self._boot_id
        )
        self._watch.clock(self.device, clock)

    def _picture(self, frame: VideoFrame, data: bytes, message: Message) -> None:
        if frame.camera not in self._cameras:
            self._watch.stranger(frame.camera)
            return
        t_ns = self._note_newest(message)
        if not -_LATEST_NS < t_ns - message.arrived_ns < _EARLIEST_NS:
            self._stray(frame.camera, t_ns, message.arrived_ns)
            return
        take = self._watch.take
        if take is not None and t_ns < take.start_ns - _BEFORE_NS:
            return  # a node kept it while its link was away, before this take
        h264 = frame.encoding == VideoFrame.ENCODING_H264
        key = not h264 or is_key(data)
        self._recorder.put_picture(frame.camera, t_ns, data, "h264" if h264 else "jpeg", key=key)
        self._watch.picture(frame.camera, t_ns, data, "h264" if h264 else "jpeg", frame.frame)

    def _stray(self, camera: str, t_ns: int, arrived_ns: int) -> None:
        """A picture whose time cannot be: left out and journalled, lest it be taken for another moment's."""
        apart = f"a picture of camera {camera} is stamped {(t_ns - arrived_ns) / NS_PER_S:+.1f} s from its arrival"
        if arrived_ns >= self._stray_due_ns:
            self._stray_due_ns = arrived_ns + NS_PER_S
            self._recorder.put_fault("stray_stamp", apart, arrived_ns, self.device)

    def _note_events(self) -> None:
        """What happened to the connection, once each."""
        events = self.board.events
        for event in events:
            if event.t_ns > self._events:
                self._events = event.t_ns
                if event.kind not in ("connected",):
                    self._recorder.put_fault(event.kind, event.text, event.t_ns, self.device)
                    self._watch.event(self.device, event)
