"""The computer neither sleeps nor minds its lid while a session is recorded, where systemd-logind obeys."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from select import select

from handcap.capture.sentences import Sentence
from handcap.child import let_end

log = logging.getLogger(__name__)

SLEEP, LID = "sleep:idle", "sleep:idle:handle-lid-switch"
_WHY = "a session is being recorded"
# Says that the lock is held, and ends with its standard input: with us, however we end.
_HOLDER = ("sh", "-c", "echo held; exec cat >/dev/null")


class Awake:
    """Keeps the computer awake until it is closed, or this process ends. Use it in a `with`.

    Args:
        answer_s: how long logind is waited for.

    Attributes:
        warning: what is not kept from happening, and what to do; None where all is.
    """

    def __init__(self, answer_s: float = 3.0) -> None:
        self._child: subprocess.Popen[str] | None = None
        self.warning: Sentence | None = None
        if shutil.which("systemd-inhibit") is None:
            self.warning = _may_sleep("systemd-inhibit is not installed", "没有 systemd-inhibit")
        elif self._holds(LID, answer_s):
            pass
        elif self._holds(SLEEP, answer_s):
            self.warning = _LID_NOT_HELD
        else:
            self.warning = _may_sleep("its system does not let us prevent that", "系统不允许阻止")

    def close(self) -> None:
        """Let it sleep again."""
        if self._child is not None:
            self._end(self._child)
            self._child = None

    def __enter__(self) -> Awake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _holds(self, what: str, answer_s: float) -> bool:
        command: Sequence[str] = ("systemd-inhibit", f"--what={what}", "--who=handcap", f"--why={_WHY}", "--mode=block")
        child = subprocess.Popen(
            [*command, *_HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is the recorder's
        )
        assert child.stdout is not None
        if select([child.stdout], [], [], answer_s)[0] and child.stdout.readline().strip() == "held":
            self._child = child
            return True
        log.info("systemd-inhibit does not hold %s", what)
        self._end(child)
        return False

    @staticmethod
    def _end(child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        let_end(child, 1.0)
        child.stdout.close()


_LID_NOT_HELD: Sentence = {
    "en": "Do not close this computer's lid while recording: it may fall asleep.",
    "zh": "录制时请勿合上电脑盖子,否则电脑可能休眠。",
}


def _may_sleep(why_en: str, why_zh: str) -> Sentence:
    return {
        "en": f"This computer may fall asleep while recording: {why_en}. Switch sleep off in its power settings, "
        "and leave the lid open.",
        "zh": f"录制时电脑可能休眠:{why_zh}。请在电源设置中关闭休眠,并保持盖子打开。",
    }
