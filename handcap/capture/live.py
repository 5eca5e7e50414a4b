"""A recording session as it runs: boards in, takes on disk, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from handcap import session as session_store
from handcap.capture.camera_stream import CameraEvent, CameraStream, CameraStreamParams
from handcap.capture.cameras import CameraAt, as_stamped
from handcap.capture.field_pass import FieldPasses
from handcap.capture.hand_watch import HandWatch
from handcap.capture.recorder import Recorder, RecorderParams
from handcap.capture.refit import refit_clocks
from handcap.capture.room import Room, RoomParams
from handcap.capture.spot_report import spot_report
from handcap.capture.streams import BoardStream
from handcap.capture.task_run import TaskRun
from handcap.capture.verdict import SpotParams, SpotVerdict, judge
from handcap.capture.watch import TakeWatch, Watch
from handcap.causes import Language
from handcap.clock import NS_PER_S, seconds
from handcap.devices import Board
from handcap.errors import DeviceError, ModelError, SessionError
from handcap.session import RecoveredTake, SessionMeta, SessionWriter
from handcap.types import SIDES, Rig
from handcap.wire.handcap_pb2 import (
    SENSOR_KIND_CAMERA,
    SENSOR_KIND_TRIGGER,
    Envelope,
    MarkTakeStart,
    SetTrigger,
    Stream,
)

_CLOCKS_WAIT_S = 5.0
_TRIGGER_HZ = 30.0
_MARK_WAIT_S = 2.0
_SLEPT_MOST_S = 0.1


@dataclass(frozen=True, slots=True)
class CaptureParams:
    """How a session is recorded.

    Attributes:
        recorder: what may wait for a slow disk.
        spot: limits of the verdict on the spot.
        camera: how cameras are kept.
        room: what the disk must hold back.
        trigger_hz: of a board's trigger whose cameras' rate rig.json does not say; None: 30.
        exposure_us: of these.
        lead_s: recorded before a take's mark where cameras are triggered: the trigger's gap there tells which picture
            is whose only if pictures are seen on both sides of it.
        settle_s: what comes within it after a take's end still belongs to it: pictures are slower than buttons.
        late_s: how long a take's end waits for the last pictures of a node whose link is well,
        return_s: for a lost link to come back,
        catch_up_s: and for what a node kept meanwhile.
    """

    recorder: RecorderParams = field(default_factory=RecorderParams)
    spot: SpotParams = field(default_factory=SpotParams)
    camera: CameraStreamParams = field(default_factory=CameraStreamParams)
    room: RoomParams = field(default_factory=RoomParams)
    trigger_hz: float | None = None
    exposure_us: int = 4000
    lead_s: float = 0.4
    settle_s: float = 0.15
    late_s: float = 1.5
    return_s: float = 5.0
    catch_up_s: float = 30.0


@dataclass(frozen=True, eq=False, slots=True)
class Ended:
    """A take that ended.

    Attributes:
        take: its id.
        watched: as measured.
        verdict: on the spot.
        took_s: from the wish to end it to this verdict.
    """

    take: str
    watched: TakeWatch
    verdict: SpotVerdict
    took_s: float


class Capture:
    """Boards, cameras and a session folder, from the first second to the last. Use it in a `with`.

    Args:
        path: new or empty folder, or a session of this rig and consent, which is continued.
        meta: of the session.
        rig: in force.
        boards: open; by device of the rig, and nodes under any other name.
        params: how.
        cameras: of the rig, that are opened here; the others come from nodes.
        field_pass: whether the field pass judges each take in the background.
        lang: of what the field pass says.
        work: the task card that takes are done by and judged by.

    Attributes:
        room: on the disk; `Worn` measures how fast it fills.
        hands_unwatched: why nobody counts bare hands though somebody should; None where all is well.
        may_start: asked before each take; raises SessionError where there is no room for one.
    """

    def __init__(
        self,
        path: Path,
        meta: SessionMeta,
        rig: Rig,
        boards: Mapping[str, Board],
        params: CaptureParams | None = None,
        *,
        cameras: Mapping[str, CameraAt] | None = None,
        field_pass: bool = True,
        lang: Language = "en",
        work: TaskRun | None = None,
    ) -> None:
        self.work = work
        rig = as_stamped(rig, cameras or {})
        self.path, self.rig, self.params = path, rig, params or CaptureParams()
        self.boards = boards
        self.room = Room(path, self.rig, self.params.room)
        self._writer: SessionWriter = session_store.create_or_continue(path, meta, rig)
        for take in self._writer.recovered:
            if take.seconds:
                refit_clocks(path, self._writer.journal, take.id)
        self.recorder = Recorder(self._writer, self.params.recorder)
        self._bare_handed = rig.bare_sides == SIDES
        self.hands_unwatched: ModelError | None = None
        hands: HandWatch | None = None
        if self._bare_handed or (work is not None and work.card.asks_for_hands):
            try:
                hands = HandWatch(rig)
            except ModelError as error:
                self.hands_unwatched = error
        self.watch = Watch([d for d in rig.devices if d in boards], rig.cameras, rig, hands)
        self._streams = [
            BoardStream(name, board, rig.cameras, self.recorder, self.watch) for name, board in boards.items()
        ]
        self.cameras = {
            name: CameraStream(name, camera.source, camera.asked, self.recorder, self.watch, self.params.camera)
            for name, camera in (cameras or {}).items()
        }
        self.field = FieldPasses(path, lang) if field_pass else None
        self.ended: list[Ended] = []
        self.may_start: Callable[[], None] | None = None
        self._losses: dict[str, dict[str, int]] = {}
        self._slept_ns = 0

    @property
    def continued(self) -> bool:
        """Whether the session had been begun before."""
        return self._writer.continued

    @property
    def recovered(self) -> tuple[RecoveredTake, ...]:
        """What was saved of takes that a dead recorder had left open."""
        return self._writer.recovered

    def ready(self, timeout_s: float = _CLOCKS_WAIT_S) -> None:
        """Everything streams, and every clock is known. Raises DeviceError with the first that is not."""
        for name, board in self.boards.items():
            board.stream(True)
            self._start_trigger(name, board)
        until_ns = time.monotonic_ns() + round(timeout_s * NS_PER_S)
        for name, board in self.boards.items():
            while board.clock is None:
                if time.monotonic_ns() > until_ns:
                    mend = "unplug it and plug it in again; `handcap doctor` says more"
                    raise DeviceError("its clock could not be told", where=name, mend=mend)
                time.sleep(0.02)
        for camera in self.cameras.values():
            camera.wait_streaming(timeout_s)

    def start(self, task: str | None = None) -> str:
        """Begin a take. Raises SessionError, or DeviceError when something is unplugged: half a rig records no take."""
        if self.may_start is not None:
            self.may_start()
        for name, board in self.boards.items():
            if not board.connected:
                mend = "plug it in again and check its cable, then start again"
                raise DeviceError("it is unplugged, or its link is gone", where=name, mend=mend)
        take = self.recorder.start_take(task if self.work is None else self.work.instruction)
        self._slept_ns = _slept_ns()
        start_ns = time.monotonic_ns()
        self.watch.begin(start_ns)
        if self.work is not None:
            self.work.began(self.recorder, take, start_ns)
        self._losses = {name: board.losses.as_dict() for name, board in self.boards.items()}
        if any(self._trigger_hz(name) for name in self.boards):
            time.sleep(self.params.lead_s)
        for stream in self._streams:
            stream.put_fit()
        for name, board in self.boards.items():
            if board.hello.board == "node":  # it knows no pulses
                continue
            try:
                board.command(MarkTakeStart(), _MARK_WAIT_S)
            except DeviceError as error:  # the take runs all the same
                self.recorder.put_fault("not_marked", error.what, time.monotonic_ns(), name)
        return take

    def end(self) -> Ended:
        """End the running take, and judge it. Raises SessionError."""
        wished_ns, slept_s = time.monotonic_ns(), float(seconds(_slept_ns(), self._slept_ns))
        time.sleep(self.params.settle_s)
        try:
            self._wait_for_nodes(wished_ns)
            watched = self.watch.end(wished_ns)
            if slept_s > _SLEPT_MOST_S:
                watched.slept_s = slept_s
                self.recorder.put_fault("laptop_slept", f"{slept_s:.1f} s in all", wished_ns, None)
            take = self.recorder.end_take()
        finally:
            for stream in self._streams:
                stream.until_ns = None
        for camera, count in self.recorder.dropped.pictures.items():
            watched.dropped[camera] = count
        rates = {name: device.imu.rate_hz for name, device in self.rig.devices.items() if name in watched.devices}
        device_of = {name: camera.device for name, camera in self.rig.cameras.items()}
        verdict = judge(watched, rates, self.params.spot, device_of, bare_handed=self._bare_handed)
        if self.work is not None:
            verdict = self.work.judge(watched, verdict)
        self._write(take, watched, verdict)
        ended = Ended(take, watched, verdict, float(seconds(time.monotonic_ns(), wished_ns)))
        self.ended.append(ended)
        if self.field is not None and verdict.verdict != "refused":
            self.field.add(take)
        return ended

    def discard(self, take: str, why: str = "discarded by the collector") -> None:
        """Never to be exported; the bytes stay."""
        self.recorder.discard_take(take, why)
        if self.field is not None:
            self.field.forget(take)

    def erase(self, take: str, why: str = "private, said the collector") -> None:
        """A take that has ended is gone for good; whoever works on it is stopped first. Raises SessionError."""
        if self.field is not None:
            self.field.stop(take)
        self.recorder.erase_take(take, why, self._writer.meta.collector or "collector")

    def listen(self, listener: Callable[[str], Callable[[Envelope], None]]) -> None:
        """Let somebody hear every message of every board: called with a device's name, it gives who is to hear."""
        for stream in self._streams:
            stream.listeners.append(listener(stream.device))

    def camera_events(self) -> list[tuple[str, CameraEvent]]:
        """What happened to cameras since this was last asked, by camera."""
        return [(name, event) for name, stream in self.cameras.items() for event in stream.news()]

    def judged(self) -> None:
        """Wait until the field pass has judged every take."""
        if self.field is not None:
            self.field.wait()

    def close(self) -> None:
        """End what runs and let go of everything; nothing that was recorded is lost."""
        with ExitStack() as last_first:  # whatever breaks, what was recorded is brought home
            last_first.callback(self._writer.close)
            last_first.callback(self.watch.close)
            last_first.callback(self.recorder.close)
            if self.field is not None:
                last_first.callback(self.field.close)
            for stream in (*self._streams, *self.cameras.values()):
                last_first.callback(stream.close)
            for board in self.boards.values():
                if any(sensor.kind == SENSOR_KIND_CAMERA for sensor in board.hello.sensors):
                    last_first.callback(_silence, board)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_nodes(self, wished_ns: int) -> None:
        """A take ends when its nodes' pictures are here: a busy computer is late, and a link may be away."""
        began = time.monotonic()
        for stream in self._streams:
            stream.until_ns = wished_ns + round(self.params.settle_s * NS_PER_S)
        for stream in self._streams:
            board, params = stream.board, self.params
            while stream.newest_ns is not None and stream.newest_ns < wished_ns:
                away_s = params.catch_up_s if board.connected else params.return_s
                if time.monotonic() - began > (params.late_s if board.has_come(wished_ns) else away_s):
                    break
                time.sleep(0.02)

    def _trigger_hz(self, device: str) -> float | None:
        """What a board's trigger is to run at, the quickest of its cameras deciding; None where nobody needs it."""
        plugs = [camera.plug for camera in self.rig.cameras.values() if camera.plug is not None]
        on_it = [plug for plug in plugs if plug.trigger is not None and plug.trigger[0] == device]
        rates = [plug.rate_hz or self.params.trigger_hz or _TRIGGER_HZ for plug in on_it]
        return max(rates, default=None)

    def _start_trigger(self, name: str, board: Board) -> None:
        """Raises DeviceError where the rig has cameras on a trigger that the board does not have."""
        trigger_hz = self._trigger_hz(name)
        if trigger_hz is None:
            return
        if all(sensor.kind != SENSOR_KIND_TRIGGER for sensor in board.hello.sensors):
            raise DeviceError(
                "rig.json has cameras on its trigger, and it has none",
                where=name,
                mend=f"run `handcap flash {board.name}`, or take the `trigger` out of rig.json",
            )
        rate_mhz, exposure_us = round(1000 * trigger_hz), self.params.exposure_us
        board.command(SetTrigger(on=True, rate_mhz=rate_mhz, exposure_us=exposure_us))

    def _camera_report(self, name: str, start_ns: int) -> dict[str, Any]:
        """What a camera that was opened here gave, and what happened to it; nothing of one on a node."""
        stream = self.cameras.get(name)
        if stream is None:
            return {}
        events = [event for event in stream.events if event.t_ns >= start_ns]
        return {
            "source": stream.source.shown,
            "asked": asdict(stream.asked),
            "given": None if stream.given is None else asdict(stream.given),
            "measured_hz": stream.rate_hz,
            "events": [{"kind": event.kind, "text": event.text} for event in events],
        }

    def _lost_since_start(self, name: str) -> dict[str, int]:
        """By the names of docs/wire.md, those that are not zero."""
        before = self._losses.get(name, {})
        grown = {what: n - before.get(what, 0) for what, n in self.boards[name].losses.as_dict().items()}
        return {what: n for what, n in grown.items() if n}

    def _write(self, take: str, watched: TakeWatch, verdict: SpotVerdict) -> None:
        """derived/<take>/capture/report.json; a disk too full for it does not spoil the take."""
        losses = {name: self._lost_since_start(name) for name in watched.devices}
        report = spot_report(watched, verdict, losses, self.recorder.dropped)
        for name, told in report["cameras"].items():
            told |= self._camera_report(name, watched.start_ns)
        if self.work is not None:
            report["task"] = self.work.report()
        with (
            suppress(SessionError),  # said by the next take's start, which needs the disk more
            session_store.write_stage(session_store.read(self.path), take, "capture") as folder,
        ):
            session_store.write_report(folder, report)


def _silence(board: Board) -> None:
    """A camera node would keep pictures for the next one who comes."""
    with suppress(DeviceError):
        board.command(Stream(on=False), 1.0)


def _slept_ns() -> int:
    """How long this computer was suspended since it was switched on: the session's clock stood still meanwhile."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
