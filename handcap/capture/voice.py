"""What happens, spoken: espeak-ng makes the sound, whatever plays sound here plays it. Nothing ever waits for it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handcap.capture.operator import Kind, Said
from handcap.capture.sentences import Sentence
from handcap.causes import Language
from handcap.errors import DeviceError

log = logging.getLogger(__name__)

ESPEAK = "espeak-ng"
# The first that is there and works; PipeWire's and PulseAudio's know which headset the user has chosen.
PLAYERS: tuple[tuple[str, ...], ...] = (
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
)
INSTALL = "sudo apt install espeak-ng alsa-utils"
_VOICES: dict[Language, str] = {"en": "en-gb", "zh": "cmn"}
_INTERRUPTING: frozenset[Kind] = frozenset({"started", "ended", "discarded", "erased", "finished"})


@dataclass(frozen=True, slots=True)
class VoiceParams:
    """How it is spoken.

    Attributes:
        words_per_minute: espeak-ng's own 175 is fast for somebody whose eyes and hands are busy.
        longest: characters; what is longer is cut at the end of a sentence, or hard.
        make_s, play_s: what takes longer is given up.
        finish_s: at the end, the last sentence may still be spoken for so long.
    """

    words_per_minute: int = 160
    longest: int = 300
    make_s: float = 10.0
    play_s: float = 40.0
    finish_s: float = 6.0


def find_players() -> list[tuple[str, ...]]:
    """Commands that are installed, to which a WAV file's name is added."""
    return [player for player in PLAYERS if shutil.which(player[0])]


def no_voice() -> Sentence | None:
    """Why nothing can be spoken here, with the line that mends it; None where something can."""
    missing = [] if shutil.which(ESPEAK) else [ESPEAK]
    if not find_players():
        missing.append("aplay")
    if not missing:
        return None
    names = ", ".join(missing)
    return {
        "en": f"No voice: {names} is not installed. To hear what happens: {INSTALL}",
        "zh": f"没有语音:未安装 {names}。如需语音提示:{INSTALL}",
    }


def make_speech(text: str, lang: Language, path: Path, params: VoiceParams | None = None) -> None:
    """Write `text`, spoken, as a WAV file.

    Raises:
        DeviceError: espeak-ng is missing or does not do it.
    """
    params = params or VoiceParams()
    command = [ESPEAK, "-v", _VOICES[lang], "-s", str(params.words_per_minute), "--stdin", "-w", str(path)]
    try:
        subprocess.run(command, input=text.encode(), capture_output=True, timeout=params.make_s, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceError(f"it does not speak ({error})", where=ESPEAK, mend=INSTALL) from error


class Voice:
    """A listener that speaks; close it, or use it in a `with`.

    What changes the state of a take is spoken at once and cuts off what is being said; anything else waits its turn,
    and is replaced by newer word of the same kind.

    Args:
        lang: to speak.
        on_trouble: told once, when no player works.
        players: commands to try, each ended with the name of a WAV file; by default what is installed.
    """

    def __init__(
        self,
        lang: Language,
        on_trouble: Callable[[Sentence], None] = lambda sentence: None,
        players: Sequence[tuple[str, ...]] | None = None,
        params: VoiceParams | None = None,
    ) -> None:
        self._lang: Language = lang
        self._on_trouble, self._params = on_trouble, params or VoiceParams()
        self._players = list(find_players() if players is None else players)
        self._waiting: dict[Kind, str] = {}
        self._playing: subprocess.Popen[bytes] | None = None
        self._cut_off = self._speaking = self._closing = self._troubled = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="handcap voice", daemon=True)
        self._thread.start()

    def hear(self, said: Said) -> None:
        """Returns at once."""
        text = shortened(said.sentence[self._lang], self._params.longest)
        with self._changed:
            if said.kind in _INTERRUPTING:
                self._waiting.clear()
                self._stop_player()
            self._waiting.pop(said.kind, None)
            self._waiting[said.kind] = text
            self._changed.notify_all()

    def close(self) -> None:
        """Let the last sentence end, for some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._speaking, self._params.finish_s)
            self._closing = True
            self._waiting.clear()
            self._stop_player()
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Voice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop_player(self) -> None:
        self._cut_off = self._speaking
        if self._playing is not None:
            _kill(self._playing)

    def _run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="handcap-voice-") as folder:
            path = Path(folder) / "said.wav"
            while True:
                with self._changed:
                    self._speaking = False
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                    if self._closing:
                        return
                    text = self._waiting.pop(next(iter(self._waiting)))
                    self._speaking, self._cut_off = True, False
                try:
                    make_speech(text, self._lang, path, self._params)
                    self._play(path)
                except DeviceError as error:
                    self._trouble(error)

    def _play(self, path: Path) -> None:
        """By the first player that works; the others are not asked again."""
        while self._players:
            with self._changed:
                if self._cut_off:
                    return
                try:
                    self._playing = subprocess.Popen(
                        [*self._players[0], str(path)],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C is the recorder's
                    )
                except OSError:
                    self._players.pop(0)
                    continue
            played = self._played(self._playing)
            with self._changed:
                self._playing = None
                if played or self._cut_off:
                    return
                self._players.pop(0)
        raise DeviceError("no sound could be played", where="voice", mend="plug a headset in and start again")

    def _played(self, player: subprocess.Popen[bytes]) -> bool:
        with suppress(subprocess.TimeoutExpired):
            return player.wait(self._params.play_s) == 0
        _kill(player)
        player.wait()
        return False

    def _trouble(self, error: DeviceError) -> None:
        log.info("voice: %s", error.what)
        if not self._troubled:
            self._troubled = True
            self._on_trouble(
                {
                    "en": "No voice: no sound could be played. Plug a headset in and start again.",
                    "zh": "没有语音:无法播放声音。请插上耳机后重新开始。",
                }
            )


def _kill(player: subprocess.Popen[bytes]) -> None:
    """With whatever it has started; none of it has anything to lose."""
    with suppress(ProcessLookupError):
        os.killpg(player.pid, signal.SIGKILL)


def shortened(text: str, longest: int) -> str:
    """Cut after the last sentence that fits, if there is one."""
    if len(text) <= longest:
        return text
    head = text[:longest]
    end = max(head.rfind(mark) for mark in (". ", "。", "! ", "? ", ";"))
    return head[: end + 1] if end > 0 else head
