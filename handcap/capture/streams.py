"""What is plugged in, carried to the recorder: a thread for each board and node."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from handcap.capture.recorder import Recorder
from handcap.capture.watch import Watch
from handcap.clock import NS_PER_S
from handcap.devices import Board, Message
from handcap.errors import HandcapError
from handcap.session.pictures import is_key
from handcap.wire.handcap_pb2 import Envelope, VideoFrame

log = logging.getLogger(__name__)

_FIT_EVERY_NS = NS_PER_S // 2


class BoardStream:
    """One board or node, listened to until it is closed.

    Args:
        device: its name in the rig; what it says is kept under that name.
        board: open.
        cameras: names of the rig; pictures of others are counted as faults and left out.
        recorder: gets everything.
        watch: is told of everything.
    """

    def __init__(self, device: str, board: Board, cameras: Collection[str], recorder: Recorder, watch: Watch) -> None:
        self.device, self.board = device, board
        self._cameras, self._recorder, self._watch = cameras, recorder, watch
        self._boot_id = 0
        self._fit_due_ns = 0
        self._events = 0
        self._closing = threading.Event()
        self.error: HandcapError | None = None
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
            self.error = error
            log.warning("%s: %s", self.device, error)

    def _take_in(self, message: Message) -> None:
        envelope, arrived_ns = message.envelope, message.arrived_ns
        self._boot_id = envelope.boot_id
        if message.body == "video_frame":
            self._picture(envelope.video_frame, message)
            small = Envelope()
            small.CopyFrom(envelope)
            small.video_frame.ClearField("data")  # the picture lies under its camera's name
            envelope = small
        self._recorder.put_message(self.device, arrived_ns, envelope)
        self._watch.message(self.device, message)
        if arrived_ns >= self._fit_due_ns:
            self._fit_due_ns = arrived_ns + _FIT_EVERY_NS
            self._put_fit()

    def _put_fit(self) -> None:
        clock = self.board.clock
        if clock is None:
            return
        fit = clock.for_journal(clock.last_board_ns)
        self._recorder.put_clock_fit(
            self.device, fit.t_ns, fit.dt_session_device_s, fit.skew, clock.residual_s, self._boot_id
        )
        self._watch.clock(self.device, clock)

    def _picture(self, frame: VideoFrame, message: Message) -> None:
        if frame.camera not in self._cameras:
            self._watch.stranger(frame.camera)
            return
        clock = self.board.clock_of(message.epoch) or self.board.clock
        t_ns = message.arrived_ns if clock is None else int(clock.session_ns(frame.capture_t_ns))
        h264 = frame.encoding == VideoFrame.ENCODING_H264
        key = not h264 or is_key(frame.data)
        self._recorder.put_picture(frame.camera, t_ns, frame.data, "h264" if h264 else "jpeg", key=key)
        self._watch.picture(frame.camera, t_ns, frame.data, None if h264 else "jpeg", frame.frame)

    def _note_events(self) -> None:
        """What happened to the connection, once each."""
        events = self.board.events
        for event in events:
            if event.t_ns > self._events:
                self._events = event.t_ns
                if event.kind not in ("connected",):
                    self._recorder.put_fault(event.kind, event.text, event.t_ns, self.device)
                    self._watch.event(self.device, event)
