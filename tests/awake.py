"""Who keeps the computer awake, as logind has it: while a recorder runs, after it ended, after it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

_RECORDER = (
    "from handcap.capture.awake import Awake\nwith Awake() as awake:\n print(awake.warning, flush=True)\n input()"
)


def inhibitors() -> list[str]:
    told = subprocess.run(["systemd-inhibit", "--list", "--no-legend"], capture_output=True, text=True, check=True)
    return [line for line in told.stdout.splitlines() if "handcap" in line]


def gone() -> list[str]:
    until = time.monotonic() + 5
    while (left := inhibitors()) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def recorder() -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", _RECORDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    warnings.append(started.stdout.readline().strip())
    return started


warnings: list[str] = []
first = recorder()
during = inhibitors()
first.communicate("\n")
after_end = gone()
second = recorder()
again = inhibitors()
second.send_signal(signal.SIGKILL)
second.communicate()
print(
    json.dumps({"warnings": warnings, "during": during, "again": again, "after_end": after_end, "after_kill": gone()})
)
