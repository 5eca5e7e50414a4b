"""The second verdict: `handcap reconstruct --field`, take after take, in the background and never in the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handcap.causes import Language
from handcap.child import last_in_line

_LONGEST_S = 1800.0
_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class FieldVerdict:
    """What the field pass says of a take.

    Attributes:
        verdict: "ok", "partial", "refused"; "unjudged" where the pass itself failed.
        lines: sentences for the collector, the worst first.
    """

    take: str
    verdict: str
    lines: Sequence[str]


class FieldPasses:
    """One pass at a time, at the lowest priority, in a process of its own.

    Args:
        session: folder.
        lang: of the sentences.

    Attributes:
        held: why nothing is judged for now; None while all goes on.
        verdicts: by take.
    """

    def __init__(self, session: Path, lang: Language = "en") -> None:
        self._session, self._lang = session, lang
        self._waiting: deque[str] = deque()
        self._forgotten: set[str] = set()
        self._changed = threading.Condition()
        self._running: subprocess.Popen[str] | None = None
        self._now: str | None = None
        self._took_s: list[float] = []
        self._closing = False
        self.held: str | None = None
        self.verdicts: dict[str, FieldVerdict] = {}
        self._thread = threading.Thread(target=self._run, name="handcap field pass", daemon=True)
        self._thread.start()

    def add(self, take: str) -> None:
        with self._changed:
            self._waiting.append(take)
            self._changed.notify_all()

    def forget(self, take: str) -> None:
        """Nobody wants to know any more."""
        with self._changed:
            self._forgotten.add(take)
            self._changed.notify_all()

    def stop(self, take: str) -> None:
        """Nobody is to touch the take any more: a pass that works on it is killed, and gone when this returns."""
        with self._changed:
            self._forgotten.add(take)
            self.verdicts.pop(take, None)
            if self._now == take and self._running is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGKILL)
            self._changed.wait_for(lambda: self._now != take)

    def hold(self, reason: str) -> None:
        """Judge nothing until `resume`; a pass that runs stands still where it is."""
        with self._changed:
            self.held = reason
            self._signal(signal.SIGSTOP)
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on."""
        with self._changed:
            self.held = None
            self._signal(signal.SIGCONT)
            self._changed.notify_all()

    def _signal(self, number: int) -> None:
        if self._running is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, number)

    @property
    def unjudged(self) -> list[str]:
        """Takes without a verdict yet."""
        with self._changed:
            waiting = [*([self._now] if self._now else []), *self._waiting]
        return [take for take in waiting if take not in self._forgotten]

    @property
    def busy(self) -> bool:
        """Whether a pass runs."""
        return self._now is not None

    @property
    def minutes_left(self) -> float | None:
        """Until all are judged, by how long the last took; None before the first."""
        if not self._took_s:
            return None
        recent = self._took_s[-5:]
        return len(self.unjudged) * sum(recent) / len(recent) / 60

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until all are judged; False on time-out, and where judging is held."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self.held is not None, timeout_s)
            return self._idle

    @property
    def _idle(self) -> bool:
        return not self._waiting and self._now is None

    def close(self) -> None:
        """Stop; takes that were not judged stay so."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            if self._running is not None:
                self._running.terminate()
                self._signal(signal.SIGCONT)
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._now = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: (bool(self._waiting) and self.held is None) or self._closing)
                if self._closing:
                    return
                take = self._waiting.popleft()
                if take in self._forgotten:
                    continue
                self._now = take
            began = time.monotonic()
            verdict = self._judged(take)
            if take not in self._forgotten and not self._closing:
                self.verdicts[take] = verdict
                self._took_s.append(time.monotonic() - began)

    def _judged(self, take: str) -> FieldVerdict:
        command = [*last_in_line(), sys.executable, "-m", "handcap.cli.app", "reconstruct", str(self._session)]
        command += ["--take", take, "--field", "--json", "--lang", self._lang]
        with self._changed:
            if self._closing or take in self._forgotten:
                return FieldVerdict(take, "unjudged", ())
            self._running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is the recorder's
            )
            if self.held is not None:
                self._signal(signal.SIGSTOP)
        try:
            said = self._said(self._running)
            told = json.loads(said)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.communicate()
            return FieldVerdict(take, "unjudged", (f"took longer than {_LONGEST_S / 60:.0f} min",))
        except ValueError:
            return FieldVerdict(take, "unjudged", (f"ended with code {self._running.returncode}",))
        finally:
            with self._changed:
                self._running = None
        summary = told["summary"]
        causes = summary.get("causes", {}).get(take, [])
        lines = [f"{cause['text']} {cause['mend']}" for cause in causes]
        return FieldVerdict(take, summary["takes"].get(take, "unjudged"), lines)

    def _said(self, running: subprocess.Popen[str]) -> str:
        """What it prints. Raises TimeoutExpired when it works for too long; standing still is no work."""
        worked_s = 0.0
        while True:
            try:
                return running.communicate(timeout=_LOOK_S)[0]
            except subprocess.TimeoutExpired:
                worked_s += _LOOK_S if self.held is None else 0.0
                if worked_s > _LONGEST_S:
                    raise
