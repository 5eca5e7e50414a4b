"""A recording session as it runs: boards in, takes on disk, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handcap import __version__
from handcap import session as session_store
from handcap.capture.field_pass import FieldPasses
from handcap.capture.recorder import Recorder, RecorderParams
from handcap.capture.streams import BoardStream
from handcap.capture.verdict import SpotParams, SpotVerdict, judge
from handcap.capture.watch import TakeWatch, Watch
from handcap.causes import Language
from handcap.clock import NS_PER_S, seconds
from handcap.devices import Board
from handcap.errors import DeviceError, SessionError
from handcap.session import SessionMeta, SessionWriter
from handcap.types import Rig
from handcap.wire.handcap_pb2 import SENSOR_KIND_TRIGGER, MarkTakeStart, SetTrigger

_CLOCKS_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class CaptureParams:
    """How a session is recorded.

    Attributes:
        recorder: what may wait for a slow disk.
        spot: limits of the verdict on the spot.
        trigger_hz: of cameras on a board's trigger line; None where none is.
        exposure_us: of these.
        settle_s: what comes within it after a take's end still belongs to it: pictures are slower than buttons.
    """

    recorder: RecorderParams = field(default_factory=RecorderParams)
    spot: SpotParams = field(default_factory=SpotParams)
    trigger_hz: float | None = None
    exposure_us: int = 4000
    settle_s: float = 0.15


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
        path: new or empty folder.
        meta: of the session.
        rig: in force.
        boards: open; by device of the rig, and nodes under any other name.
        params: how.
        field_pass: whether the field pass judges each take in the background.
        lang: of what the field pass says.
    """

    def __init__(
        self,
        path: Path,
        meta: SessionMeta,
        rig: Rig,
        boards: Mapping[str, Board],
        params: CaptureParams | None = None,
        *,
        field_pass: bool = True,
        lang: Language = "en",
    ) -> None:
        self.path, self.rig, self.params = path, rig, params or CaptureParams()
        self.boards = boards
        self._writer: SessionWriter = session_store.create(path, meta, rig)
        self.recorder = Recorder(self._writer, self.params.recorder)
        self.watch = Watch([d for d in rig.devices if d in boards], rig.cameras)
        self._streams = [
            BoardStream(name, board, rig.cameras, self.recorder, self.watch) for name, board in boards.items()
        ]
        self.field = FieldPasses(path, lang) if field_pass else None
        self.ended: list[Ended] = []
        self._losses: dict[str, dict[str, int]] = {}

    def ready(self, timeout_s: float = _CLOCKS_WAIT_S) -> None:
        """Everything streams, and every clock is known. Raises DeviceError with the first that is not."""
        for board in self.boards.values():
            board.stream(True)
            if self.params.trigger_hz and any(sensor.kind == SENSOR_KIND_TRIGGER for sensor in board.hello.sensors):
                board.command(
                    SetTrigger(
                        on=True, rate_mhz=round(1000 * self.params.trigger_hz), exposure_us=self.params.exposure_us
                    )
                )
        until_ns = time.monotonic_ns() + round(timeout_s * NS_PER_S)
        for name, board in self.boards.items():
            while board.clock is None:
                if time.monotonic_ns() > until_ns:
                    mend = "unplug it and plug it in again; `handcap doctor` says more"
                    raise DeviceError("its clock could not be told", where=name, mend=mend)
                time.sleep(0.02)

    def start(self, task: str | None = None) -> str:
        """Begin a take. Raises SessionError."""
        take = self.recorder.start_take(task)
        self.watch.begin(time.monotonic_ns())
        self._losses = {name: board.losses.as_dict() for name, board in self.boards.items()}
        for board in self.boards.values():
            board.command(MarkTakeStart())
        return take

    def end(self) -> Ended:
        """End the running take, and judge it. Raises SessionError."""
        wished_ns = time.monotonic_ns()
        time.sleep(self.params.settle_s)
        watched = self.watch.end(wished_ns)
        take = self.recorder.end_take()
        rates = {name: device.imu.rate_hz for name, device in self.rig.devices.items() if name in watched.devices}
        verdict = judge(watched, rates, self.params.spot)
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

    def close(self) -> None:
        """End what runs and let go of everything; nothing that was recorded is lost."""
        for stream in self._streams:
            stream.close()
        if self.field is not None:
            self.field.close()
        self.recorder.close()
        self.watch.close()
        self._writer.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lost_since_start(self, name: str) -> dict[str, int]:
        """By the names of docs/wire.md, those that are not zero."""
        before = self._losses.get(name, {})
        grown = {what: n - before.get(what, 0) for what, n in self.boards[name].losses.as_dict().items()}
        return {what: n for what, n in grown.items() if n}

    def _write(self, take: str, watched: TakeWatch, verdict: SpotVerdict) -> None:
        """derived/<take>/capture/report.json; a disk too full for it does not spoil the take."""
        session = session_store.read(self.path)
        report: dict[str, Any] = {
            "verdict": verdict.verdict,
            "causes": [cause.as_dict() for cause in verdict.causes],
            "spans_ok_s": [],
            "time_offset_s": {},
            "time_offset_sigma_s": {},
            "length_s": watched.length_s,
            "devices": {
                name: {
                    "samples": device.samples,
                    "missing": device.missing,
                    "saturated": device.saturated,
                    "losses": self._lost_since_start(name),
                    "clock_residual_s": device.clock_residual_s,
                    "clock_sigma_s": device.clock_sigma_s,
                    "events": [{"kind": event.kind, "text": event.text} for event in device.events],
                }
                for name, device in watched.devices.items()
            },
            "cameras": {
                name: {
                    "pictures": camera.pictures,
                    "lost": camera.lost,
                    "brightness": _median(camera.brightness),
                    "corners": _median([float(n) for n in camera.corners]),
                    "followed": _median(camera.followed),
                }
                for name, camera in watched.cameras.items()
            },
            "dropped_for_the_disk": {
                "pictures": dict(self.recorder.dropped.pictures),
                "messages": dict(self.recorder.dropped.messages),
            },
            "versions": {"handcap": __version__},
        }
        with (
            suppress(SessionError),  # said by the next take's start, which needs the disk more
            session_store.write_stage(session, take, "capture") as folder,
        ):
            session_store.write_report(folder, report)


def _median(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
