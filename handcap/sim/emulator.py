"""Boards that are not there: the firmware's own image runs on an emulated RP2040 with emulated sensors.

`EmulatedBoard` answers on ptys in real time, as boards plugged in would; `emulate` runs one as fast as the computer can
and returns what it sent. The emulation itself is firmware/emulation (JavaScript, around npm's rp2040js).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import tty
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from handcap.child import let_end
from handcap.errors import HandcapError
from handcap.geometry import Array

Event = dict[str, Any]
_EMULATION = Path(__file__).resolve().parents[2] / "firmware" / "emulation"
_START_S = 30.0  # a busy computer may take long to start node
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class BoardParams:
    """One specimen and what surrounds it.

    Attributes:
        uid: 64 bits, of the flash chip; everything that differs from specimen to specimen follows from it.
        ppm: how much faster than true time the board's crystal runs.
        seed: of where bits fall over and contacts bounce.
        felt: file written by `Felt.write`; by default the board is moved about endlessly.
        felt_start_s: when the file begins, true time since power-on.
        signal: without `felt`: "motion", or "count": the gyroscope's x axis counts samples, so that a lost one shows.
        usb: without a cable None; else "closed", or "open" where a program has the USB serial port open. An
            `EmulatedBoard` always has its cable, and sees for itself whether the port is open.
        imu: `rateError` (0.004 is 0.4 % fast), `identity`, `selfTestGain`, `absent`.
        encoder: `magnet` (ok, weak, strong, missing), `absent`.
        camera: `exposureUs`, `latencyUs`; by default it exposes while the trigger is high.
        script: lines of JSON, `{"at_s": 3, "do": "brown_out"}`; see firmware/emulation/README.md.
    """

    uid: int
    ppm: float = 0.0
    seed: int = 0
    felt: Path | None = None
    felt_start_s: float = 0.0
    signal: str = "motion"
    usb: str | None = None
    imu: Mapping[str, Any] = field(default_factory=dict[str, Any])
    encoder: Mapping[str, Any] = field(default_factory=dict[str, Any])
    camera: Mapping[str, Any] = field(default_factory=dict[str, Any])
    script: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.uid < 1 << 64

    def as_options(self, folder: Path) -> dict[str, Any]:
        """For main.mjs; what does not fit in there is put into `folder`."""
        options: dict[str, Any] = {
            "uid": f"{self.uid:016x}",
            "ppm": self.ppm,
            "seed": self.seed,
            "signal": self.signal,
            "imu": dict(self.imu),
            "encoder": dict(self.encoder),
            "camera": dict(self.camera),
        }
        if self.usb is not None:
            options["usb"] = self.usb
        if self.felt is not None:
            options |= {"felt": str(self.felt), "feltStart": self.felt_start_s}
        if self.script:
            script = folder / "script.jsonl"
            script.write_text("".join(f"{json.dumps(line)}\n" for line in self.script))
            options["script"] = str(script)
        return options


@dataclass(frozen=True, eq=False, slots=True)
class Emulated:
    """What a board did in virtual time.

    Attributes:
        sent: bytes of its serial port.
        sent_t_s: (n,) true time since power-on at which each had been sent.
        usb: bytes of its USB serial port.
        sample_t_s: (m,) true time of every sample its IMU took, read or not.
        events: what happened, in order.
        summary: counts at the end.
    """

    sent: bytes
    sent_t_s: Array
    usb: bytes
    sample_t_s: Array
    events: tuple[Event, ...]
    summary: Event


def emulate(image: Path, board: BoardParams, seconds: float, *, translate: bool = True) -> Emulated:
    """Run one board in virtual time; the same bytes every time.

    Args:
        image: .bin, .uf2 or .elf.
        board: what to run it on.
        seconds: true time.
        translate: False interprets the program step by step, with the same result, in several times the time.

    Raises:
        HandcapError: node or its package is missing, or the emulation failed.
    """
    with tempfile.TemporaryDirectory(prefix="handcap-board-") as name:
        folder = Path(name)
        files = {what: str(folder / what) for what in ("out", "usbOut", "stamps", "truth")}
        options = board.as_options(folder) | {"image": str(image), "seconds": seconds, "translate": translate} | files
        done = subprocess.run(_command(options), capture_output=True, text=True, check=False)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        if not events or events[-1]["event"] != "end":
            raise _failed(events, done.stderr)
        return Emulated(
            Path(files["out"]).read_bytes(),
            np.fromfile(files["stamps"], "<f8"),
            Path(files["usbOut"]).read_bytes(),
            np.fromfile(files["truth"], "<f8"),
            tuple(events[:-1]),
            events[-1],
        )


class EmulatedBoard:
    """A board plugged in while the context lasts.

    Attributes:
        serial_port: path of its serial port, as an adapter would give.
        usb_port: path of its USB serial port.
        events: what happened so far, in order.
    """

    def __init__(self, image: Path, board: BoardParams) -> None:
        self.image = image
        self.board = board
        self.events: list[Event] = []
        self.serial_port = self.usb_port = ""
        self._folder = tempfile.TemporaryDirectory(prefix="handcap-board-")
        self._process: subprocess.Popen[str] | None = None
        self._masters: list[int] = []
        self._said = threading.Condition()
        self._boots = 0
        self._silent = True  # it will say no more
        self._told_before = 0  # events of earlier times it was plugged in

    def __enter__(self) -> EmulatedBoard:
        try:
            self.plug()
        except HandcapError:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unplug()
        self._folder.cleanup()

    def plug(self) -> None:
        """Give it power and a new pair of ports. Raises HandcapError."""
        assert self._process is None, "it is plugged in"
        self._told_before = len(self.events)
        self.serial_port, self.usb_port = self._port(), self._port()
        folder = Path(self._folder.name)
        serial, usb = self._masters
        options = self.board.as_options(folder) | {
            "image": str(self.image),
            "serialFd": serial,
            "usbFd": usb,
            "usb": "closed",
            "flash": str(folder / "flash.bin"),
            "bootsBefore": self._boots,
        }
        self._silent = False
        with self._complaints.open("w") as complaints:
            self._process = subprocess.Popen(
                _command(options),
                pass_fds=self._masters,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        try:
            self.wait_for("running", _START_S)
        except HandcapError:
            self.unplug()
            raise

    def unplug(self) -> Event:
        """Take its power and its ports away; the counts at the end, empty if it had failed."""
        process, self._process = self._process, None
        if process is None:
            return {}
        let_end(process, _STOP_S)
        self._listener.join()
        if process.stdout is not None:
            process.stdout.close()
        for master in self._masters:
            os.close(master)
        self._masters = []
        ended = self._told("end")
        self._boots = ended[-1]["boots"] if ended else self._boots
        return ended[-1] if ended else {}

    def do(self, what: str, **more: Any) -> None:
        """Have something happen to it now, by the words of firmware/emulation/README.md. Raises HandcapError."""
        process = self._process
        assert process is not None and process.stdin is not None, "it is not plugged in"
        before = len(self._told("done", "refused"))
        process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        process.stdin.flush()
        with self._said:
            self._said.wait_for(lambda: len(self._told("done", "refused")) > before or self._silent, _START_S)
            answers = self._told("done", "refused")[before:]
        if not answers:
            raise _failed(self.events, self._complaints.read_text())
        if answers[0]["event"] == "refused":
            raise HandcapError(f"the emulated board did not do that: {answers[0]['text']}")

    def wait_for(self, kind: str, timeout_s: float) -> Event:
        """The latest event of a kind since it was plugged in, as soon as there is one. Raises HandcapError."""
        assert self._process is not None, "it is not plugged in"
        with self._said:
            self._said.wait_for(lambda: bool(self._told(kind)) or self._silent, timeout_s)
            found = self._told(kind)
        if not found:
            raise _failed(self.events, self._complaints.read_text())
        return found[-1]

    def _told(self, *kinds: str) -> list[Event]:
        """Events of some kinds since it was plugged in."""
        return [event for event in self.events[self._told_before :] if event["event"] in kinds]

    @property
    def _complaints(self) -> Path:
        return Path(self._folder.name) / "stderr.txt"

    def _port(self) -> str:
        master, slave = os.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        os.close(slave)  # so that the emulation sees whether anybody has it open
        os.set_blocking(master, False)
        self._masters.append(master)
        return name

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._said:
                self.events.append(json.loads(line))
                self._said.notify_all()
        with self._said:
            self._silent = True
            self._said.notify_all()


def _command(options: Mapping[str, Any]) -> list[str]:
    """Raises HandcapError where node or its package is missing."""
    node = shutil.which("node")
    if node is None:
        raise HandcapError("no program `node`, which runs emulated boards", mend="apt-get install nodejs npm")
    if not (_EMULATION / "main.mjs").exists():
        raise HandcapError("emulated boards come with the source tree only", where=_EMULATION, mend="clone the project")
    if not (_EMULATION / "node_modules" / "rp2040js").exists():
        mend = f"npm ci --prefix {_EMULATION}"
        raise HandcapError("the npm package rp2040js, which emulates the chip, is missing", where=_EMULATION, mend=mend)
    return [node, str(_EMULATION / "main.mjs"), json.dumps(options)]


def _failed(events: Sequence[Event], stderr: str) -> HandcapError:
    said = [event["text"] for event in events if event["event"] == "failed"]
    what = said[-1] if said else stderr.strip() or "it ended without a word"
    return HandcapError(f"an emulated board failed: {what}", mend="check the image: make -C firmware image")
