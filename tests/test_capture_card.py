"""`handcap capture --card`, as a collector runs it: the virtual rig plays a take, keys are pressed on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from carded import CARD, write_card
from live_capture import FPS, RATE_HZ

from handcap import session as session_store
from handcap.capture.practice import has_passed, write_pass
from handcap.capture.task_card import read_card
from handcap.sim.unrendered import unrendered

PLAIN = CARD.replace("practice_takes = 2\n", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough that no take meets the end, where the virtual rig begins again."""
    folder = tmp_path_factory.mktemp("rendered") / "source"
    unrendered(folder, 60.0, size=(320, 240), fps=FPS, rate_hz=RATE_HZ)
    return folder


@pytest.fixture
def command(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    quiet = ["--no-field", "--no-voice", "--play", str(source)]
    return [sys.executable, "-m", "handcap.cli.app", "capture", "--virtual", *quiet]


class Terminal:
    """A program on a terminal, and what it printed so far."""

    def __init__(self, command: list[str]) -> None:
        self._fd, inner = pty.openpty()
        self._program = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        self.printed = ""

    def wait_for(self, pattern: str, seconds: float = 120.0) -> re.Match[str]:
        until = time.monotonic() + seconds
        while (found := re.search(pattern, self.printed)) is None:
            assert time.monotonic() < until, self.printed
            if select.select([self._fd], [], [], 0.2)[0]:
                self.printed += os.read(self._fd, 4096).decode()
        self.printed = self.printed[found.end() :]
        return found

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def close(self) -> int:
        try:
            return self._program.wait(60)
        finally:
            self._program.kill()
            os.close(self._fd)


def test_a_collector_marks_steps_sees_the_preview_and_hears_what_is_next(command: list[str], tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "start.png"), np.full((48, 64, 3), 255, np.uint8))
    start = '[start]\nen = "The cloth lies in front."\nzh = "抹布放在前面。"\nphoto = "start.png"\n[reset]'
    path = write_card(tmp_path, PLAIN.replace("[reset]", start))
    out = tmp_path / "session"
    terminal = Terminal([*command, str(out), "--card", str(path), "--collector", "anna", "--preview", "--plain"])
    address = terminal.wait_for(r"live picture: (http://\S+)")[1]
    terminal.wait_for("0 of 3 good. Next: A dry cloth.")
    terminal.press(" ")
    terminal.wait_for("Take 1: recording")
    with urlopen(f"{address}live.mjpg", timeout=20) as stream:
        assert _first_picture(stream).mean() > 120  # half of it is the white photo
    terminal.press("n")
    terminal.wait_for(r"Wipe\.")
    time.sleep(2.5)
    terminal.press(" ")
    terminal.wait_for(r"0001: .*good")
    terminal.wait_for(r"\d of 3 good\. Put the cloth back\. Next: A")
    terminal.press("q")
    assert terminal.close() == 0
    session = session_store.read(out)
    use = session.cards()["0001"]
    record = session.journal()["0001"]
    assert [mark.step for mark in use.marks] == ["take", "wipe"]
    assert record.first_ns is not None and record.last_ns is not None
    assert abs(use.marks[0].t_ns - record.first_ns) < 1e9 and record.first_ns < use.marks[1].t_ns < record.last_ns
    assert (use.variation, record.task) == ("dry", "Wipe the table")
    assert (session.meta.collector, session.meta.consent_id, session.meta.task) == ("anna", "none", "Wipe the table")
    task = session_store.read_report(out / "derived/0001/capture")["task"]
    assert [step["span_s"] is not None for step in task["steps"]] == [True, True]


def _first_picture(stream):
    import cv2
    import numpy as np

    length = None
    while True:
        line = stream.readline().strip()
        if line.startswith(b"Content-Length: "):
            length = int(line.split()[-1])
        elif not line and length is not None:
            return cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)


def test_practice_keeps_nothing_and_opens_the_card(command: list[str], tmp_path: Path) -> None:
    easy = PLAIN.replace('jaw_moved = ["left"]', "length_s = [1, 20]").replace(
        'jaw_moved = ["right"], tags_in_view = ["right"], ', ""
    )
    path = write_card(tmp_path, easy.replace("good_takes = 3", "good_takes = 3\npractice_takes = 1"))
    asked = ["--card", str(path), "--collector", "anna", "--json", "--takes", "1", "--seconds", "4"]

    def run(*more: str) -> dict:
        done = subprocess.run([*command, *more, *asked], capture_output=True, text=True, check=False, cwd=tmp_path)
        return json.loads(done.stdout)

    refused = run(str(tmp_path / "session"))
    assert "has not practised" in refused["error"]["what"] and "--practice" in refused["error"]["mend"]
    practised = run("--practice")
    told = practised["summary"]["practice"]
    assert told["collector"] == "anna" and practised["outputs"] == []
    good = [one["verdict"] == "ok" for one in told["tries"]]  # a busy machine loses pictures
    assert good == [told["passed"]] == [practised["ok"]] == [has_passed("anna", read_card(path), virtual=True)]
    write_pass("anna", read_card(path), virtual=True)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".mcap", ".part", ".sqlite")]
    recorded = run(str(tmp_path / "session"))
    assert recorded["ok"] and (tmp_path / "session/raw/0001").is_dir()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--practice"], "nothing to practise"),
        (["--card", "CARD", "--task", "x"], "both say what is done"),
        (["--card", "CARD", "--practice"], "nobody said who practises"),
        (["--card", "CARD", "--practice", "--collector", "a", "out"], "keeps nothing"),
        (["--card", "missing.toml"], "no such file"),
        (["--collector", "Anna Li"], "no alias"),
        (["--consent", "zhangwei1@x"], "no id of a consent form"),
    ],
)
def test_options_that_say_too_little_or_too_much_are_refused_at_once(
    tmp_path: Path, monkeypatch, capfd, options, what
) -> None:
    from handcap.cli.app import main

    monkeypatch.chdir(tmp_path)
    path = write_card(tmp_path, PLAIN)
    asked = [str(path) if option == "CARD" else option for option in options]
    with pytest.raises(SystemExit) as ended:
        main(["capture", "--virtual", "--takes", "1", "--json", *asked])
    assert ended.value.code == 1
    assert what in json.loads(capfd.readouterr().out)["error"]["what"]
    assert [p.name for p in tmp_path.iterdir()] == ["task.toml"]
