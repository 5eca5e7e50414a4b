"""What happens is spoken, and nothing waits for it."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handcap.capture import sentences
from handcap.capture.operator import Kind, Said
from handcap.capture.sentences import Sentence
from handcap.capture.voice import INSTALL, Voice, VoiceParams, make_speech, no_voice, shortened
from handcap.causes import LANGUAGES, Language
from handcap.errors import DeviceError


@pytest.fixture
def espeak() -> None:
    if shutil.which("espeak-ng") is None:
        reason = f"no espeak-ng: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def said(kind: Kind, en: str) -> Said:
    return Said(kind, {"en": en, "zh": en})


def player(folder: Path, script: str) -> tuple[str, ...]:
    """A program that is given a WAV file to play."""
    path = folder / f"player{len(list(folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def eventually(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.usefixtures("espeak")
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    "sentence",
    [sentences.READY, sentences.started("0007"), sentences.discarded("0012"), sentences.erase_really("0012")],
)
def test_every_sentence_becomes_sound_as_long_as_somebody_needs_to_say_it(
    tmp_path: Path, lang: Language, sentence: Sentence
) -> None:
    make_speech(sentence[lang], lang, tmp_path / "said.wav")
    with wave.open(str(tmp_path / "said.wav")) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    sound = np.frombuffer(data, np.int16).astype(float)
    loud = np.flatnonzero(np.abs(sound) > 500)
    syllables = len(sentence["zh"].strip("。,:?")) if lang == "zh" else len(sentence["en"].split()) * 1.5
    assert 0.06 * syllables < (loud[-1] - loud[0]) / rate < 0.5 * syllables + 0.5
    assert np.sqrt(np.mean(sound[loud[0] : loud[-1]] ** 2)) > 1000, "loud enough to be heard"


@pytest.mark.usefixtures("espeak")
def test_what_looks_like_an_option_is_spoken(tmp_path: Path) -> None:
    make_speech("--version", "en", tmp_path / "said.wav")
    assert (tmp_path / "said.wav").stat().st_size > 10_000


@pytest.mark.usefixtures("espeak")
def test_each_sentence_reaches_the_player_as_sound(tmp_path: Path) -> None:
    (tmp_path / "players").mkdir()
    keeps = player(tmp_path / "players", f'cp "$1" {tmp_path}/$(date +%s%N).wav')
    with Voice("en", players=[keeps]) as voice:
        voice.hear(said("ready", "Ready."))
        eventually(lambda: len(list(tmp_path.glob("*.wav"))) == 1)
        voice.hear(said("started", "Take 1: recording."))
    heard = sorted(tmp_path.glob("*.wav"))
    assert len(heard) == 2 and all(path.read_bytes()[:4] == b"RIFF" for path in heard)


@pytest.mark.usefixtures("espeak")
def test_a_stuck_player_keeps_nobody_waiting_and_ends_when_the_next_take_begins(tmp_path: Path) -> None:
    (tmp_path / "players").mkdir()
    stuck = player(tmp_path / "players", f"echo $$ >> {tmp_path}/pids; sleep 1000")
    voice = Voice("en", players=[stuck], params=VoiceParams(finish_s=0.1))
    voice.hear(said("ready", "Ready."))
    eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text())
    first = int((tmp_path / "pids").read_text())
    done = threading.Event()

    def takes() -> None:
        for k in range(50):
            voice.hear(said("started", f"Take {k}: recording."))
            voice.hear(said("ended", f"Take {k}: good."))
        done.set()

    threading.Thread(target=takes).start()
    assert done.wait(5)
    eventually(lambda: not _lives(first))
    voice.close()
    eventually(lambda: not any(_lives(int(pid)) for pid in (tmp_path / "pids").read_text().split()))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


@pytest.mark.usefixtures("espeak")
def test_a_player_that_fails_is_replaced_by_the_next_and_not_asked_again(tmp_path: Path) -> None:
    (tmp_path / "players").mkdir()
    fails = player(tmp_path / "players", f"echo x >> {tmp_path}/failed; exit 1")
    works = player(tmp_path / "players", f"echo x >> {tmp_path}/worked")
    with Voice("zh", players=[("no-such-player",), fails, works]) as voice:
        voice.hear(Said("ready", sentences.READY))
        eventually((tmp_path / "worked").exists)
        voice.hear(Said("finished", sentences.FINISHED))
    assert (tmp_path / "failed").read_text().count("x") == 1
    assert (tmp_path / "worked").read_text().count("x") == 2


@pytest.mark.usefixtures("espeak")
def test_no_sound_device_is_said_once_and_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "players").mkdir()
    fails = player(tmp_path / "players", "exit 1")
    troubles: list[Sentence] = []
    with Voice("en", troubles.append, players=[fails]) as voice:
        voice.hear(said("ready", "Ready."))
        eventually(lambda: troubles)
        voice.hear(said("field", "Take 1, field pass: good."))
    assert len(troubles) == 1
    assert set(troubles[0]) == set(LANGUAGES)


@pytest.mark.usefixtures("espeak")
def test_word_that_waits_is_replaced_by_newer_word_and_dropped_when_a_take_begins(tmp_path: Path) -> None:
    (tmp_path / "players").mkdir()
    go = tmp_path / "go"
    waits = player(
        tmp_path / "players", f'cp "$1" {tmp_path}/$(date +%s%N).wav; while [ ! -e {go} ]; do sleep 0.05; done'
    )
    with Voice("en", players=[waits]) as voice:
        voice.hear(said("ready", "Ready."))
        eventually(lambda: list(tmp_path.glob("*.wav")))
        for k in range(5):
            voice.hear(said("field", f"Take {k}, field pass: good."))
        go.touch()
        eventually(lambda: len(list(tmp_path.glob("*.wav"))) == 2)
        time.sleep(0.3)
    assert len(list(tmp_path.glob("*.wav"))) == 2


def test_a_computer_without_a_voice_is_told_the_line_that_brings_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = no_voice()
    assert told is not None
    assert all(INSTALL in told[lang] and "espeak-ng" in told[lang] for lang in LANGUAGES)
    with pytest.raises(DeviceError, match="does not speak"):
        make_speech("Ready.", "en", tmp_path / "said.wav")


def test_long_words_are_cut_where_a_sentence_ends() -> None:
    assert shortened("One. Two is longer. Three.", 20) == "One. Two is longer."
    assert shortened("第一句。第二句很长。", 6) == "第一句。"
    assert shortened("x" * 50, 20) == "x" * 20
