"""The screen says in large what goes on, and in red what could go wrong; lines take its place elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from recording import RIG, session_meta
from rich.console import Console

from handcap.capture import Capture, Ended, SpotVerdict
from handcap.capture.look import Eyes
from handcap.capture.operator import Said
from handcap.capture.readings import CameraReading, ImuReading, Meter, Readings
from handcap.capture.sentences import causes, discarded, ended, failed, field
from handcap.capture.watch import TakeWatch
from handcap.causes import LANGUAGES, Cause, Language
from handcap.cli.capture import Lines
from handcap.cli.capture_screen import Tally, drawn
from handcap.errors import SessionError
from handcap.sim.unrendered import unrendered
from handcap.types import Rig

IMU = ImuReading("head", 1001.0, 1000.0, 0, 0, 1.2e-5, True)
CAMERA = CameraReading("head", 29.9, 0, 118.0, 0.9, 0.96, 3, 2)
NOW = Readings("0003", 72.5, (IMU,), (CAMERA,), 41_000_000_000, 171.0, 2, 3.4)


def shown(now: Readings, tally: Tally | None = None, lang: Language = "en", **more: object) -> str:
    """The screen's text."""
    values: dict[str, object] = {"step": "", "battery": None, **more}
    console = Console(file=io.StringIO(), width=100, record=True)
    picture = drawn(now, tally or Tally(), lang, "kitchen", keys="q: finish", **values)  # pyright: ignore[reportArgumentType]
    console.print(picture)
    return console.export_text()


def red(now: Readings, **more: object) -> list[str]:
    """What is drawn in bold red."""
    values: dict[str, object] = {"step": "", "battery": None, **more}
    picture = drawn(now, Tally(), "en", "kitchen", keys="", **values)  # pyright: ignore[reportArgumentType]
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(picture)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    return [words.strip() for words in re.findall(r"\x1b\[1;31m([^\x1b]+)", text)]


def take(id: str, verdict: str, *found: Cause) -> Said:
    what = Ended(id, TakeWatch(0, {}, {}, Eyes(None, 0), 8_100_000_000), SpotVerdict(verdict, found), 0.2)  # pyright: ignore[reportArgumentType]
    return Said("ended", ended(what), id, what, causes(what))


def test_the_screen_shows_everything_a_collector_asks_for() -> None:
    text = shown(NOW, step="put the cup on the shelf", battery=0.81)
    for expected in (
        "● RECORDING  0003  01:12",
        "Now: put the cup on the shelf",
        "1001 Hz",
        "12 µs",
        "30 Hz",
        "118",
        "96 %",
        "2 not judged yet, about 3 min",
        "171 min left (41 GB)",
        "Battery: 81 %",
        "q: finish",
    ):
        assert expected in text, expected
    assert red(NOW, battery=0.81) == []


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(NOW, imus=(replace(IMU, lost=7),)), ["7"]),
        (replace(NOW, imus=(replace(IMU, saturated=12),)), ["12"]),
        (replace(NOW, imus=(replace(IMU, rate_hz=500.0),)), ["500 Hz"]),
        (replace(NOW, imus=(replace(IMU, connected=False),)), ["unplugged"]),
        (replace(NOW, cameras=(replace(CAMERA, brightness=9.0),)), ["9 dark"]),
        (replace(NOW, cameras=(replace(CAMERA, brightness=250.0),)), ["250 bright"]),
        (replace(NOW, cameras=(replace(CAMERA, edge_px=4.0),)), ["4.0 px"]),
        (replace(NOW, cameras=(replace(CAMERA, followed=0.2),)), ["20 %"]),
        (replace(NOW, disk_free=1_000_000_000, disk_minutes=4.2), ["4 min left (1 GB)"]),
    ],
)
def test_what_could_spoil_the_take_is_red_and_nothing_else(now: Readings, words: list[str]) -> None:
    assert red(now) == words


def test_what_nobody_knows_is_a_dash() -> None:
    camera = CameraReading("head", None, None, None, None, None, None, None)
    text = shown(replace(NOW, cameras=(camera,), take=None, disk_free=None, disk_minutes=None, unjudged=0))
    assert re.search(r"head camera( +–){7}", text)
    assert "waiting" in text and "Disk: –" in text and "judged" not in text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_takes_are_counted_by_their_newest_verdict(lang: Language) -> None:
    tally = Tally()
    for said in (
        take("0001", "ok"),
        take("0002", "ok"),
        take("0003", "partial", Cause("jaw_not_moved", "left_tcp")),
        Said("field", field("0001", "refused"), "0001", verdict="refused"),
        Said("discarded", discarded("0003"), "0003"),
    ):
        tally.hear(said, lang)
    assert tally.counts() == {"ok": 1, "partial": 0, "refused": 1, "discarded": 1, "erased": 0}
    counts = {
        "en": "1 good, 0 partly good, 1 not good, 1 thrown away",
        "zh": "1 条合格,0 条部分合格,1 条不合格,1 条丢弃",
    }
    assert counts[lang] in shown(NOW, tally, lang)


def test_the_last_verdict_stays_in_view_with_what_to_do_while_the_next_take_runs() -> None:
    tally = Tally()
    cause = Cause("jaw_not_moved", "left_tcp")
    tally.hear(take("0001", "partial", cause), "en")
    tally.hear(Said("started", {"en": "Take 2: recording.", "zh": ""}, "0002"), "en")
    text = shown(NOW, tally)
    assert "0001: partly good (8.1 s)" in text
    assert cause.text("en") in text and "→ Check" in text


def test_what_the_guide_says_of_a_take_stands_under_its_verdict() -> None:
    tally = Tally()
    for said in (
        Said("warning", {"en": "The room is dark.", "zh": "太暗。"}, more={"en": ["Switch on a light."], "zh": []}),
        Said("guide", {"en": "It is step 2: Wipe.", "zh": "第2步"}, "0001"),
    ):
        tally.hear(said, "en")
    assert tally.last.plain == "The room is dark."
    assert list(tally.more) == ["Switch on a light.", "It is step 2: Wipe."]
    tally.hear(Said("guide", {"en": "Wipe.", "zh": "擦。"}), "en")
    assert (tally.last.plain, list(tally.more)) == ("Wipe.", [])


def test_every_word_of_the_screen_is_chinese_when_asked() -> None:
    unplugged = replace(IMU, name="left", connected=False)
    dark = replace(CAMERA, brightness=1.0)
    text = shown(replace(NOW, imus=(IMU, unplugged), cameras=(dark,)), lang="zh", step="x", battery=0.1)
    assert set(re.findall(r"[A-Za-z]+", text)) <= {"kitchen", "x", "Hz", "µs", "px", "s", "GB", "q", "finish"}


def test_an_error_is_spoken_without_paths_and_in_chinese_where_it_is_usual() -> None:
    error = SessionError("the disk is full (No space left)", where="/home/ana/session/raw", mend="free some space")
    assert failed(error)["en"] == "The disk is full (No space left). Free some space."
    assert failed(error)["zh"] == "磁盘已满,请腾出空间或换一个磁盘。"


def test_lines_say_the_verdict_the_cause_and_what_to_do() -> None:
    lines: list[str] = []
    printer = Lines("en", lines.append)
    printer.hear(take("0001", "partial", Cause("jaw_not_moved", "left_tcp")))
    assert lines[0] == "0001: partly good (8.1 s)"
    assert lines[1].startswith("  The jaws") and "→" in lines[2]


def test_readings_of_a_recording_in_which_nothing_comes_are_unknown_and_not_zero(tmp_path: Path) -> None:
    rig = Rig("bench", RIG.devices, RIG.cameras)
    with Capture(tmp_path / "s", session_meta("capture"), rig, {}, field_pass=False) as running:
        meter = Meter(running)
        assert meter.read().take is None
        id = running.start("x")
        running.watch.picture("head", 1_000, b"no jpeg", None, None)
        now = meter.read()
        assert now.take == id and now.disk_free and now.disk_minutes
        assert [camera.brightness for camera in now.cameras] == [None, None]
        head, left = (meter.read().cameras[k].rate_hz for k in (0, 1))
        assert head and left is None


@pytest.mark.parametrize("terminal", [True, False])
def test_a_session_draws_a_screen_on_a_terminal_and_lines_elsewhere(tmp_path: Path, terminal: bool) -> None:
    unrendered(tmp_path / "source", 2.0, size=(320, 240))
    command = [sys.executable, "-m", "handcap.cli.app", "capture", str(tmp_path / "s"), "--virtual"]
    command += ["--play", str(tmp_path / "source"), "--takes", "1", "--seconds", "2", "--no-field", "--no-voice"]
    environment: Mapping[str, str] = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    if not terminal:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert "Take 1: recording." in done.stdout and "\x1b[" not in done.stdout
        return
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # nobody is left at the other end
        while data := os.read(ours, 65536):
            seen += data
    os.close(ours)
    text = seen.decode(errors="replace")
    assert process.wait() == 0, text
    assert "● RECORDING" in text and "Disk" in text
    assert "1 take; next: handcap reconstruct" in text
