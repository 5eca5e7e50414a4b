"""Showing a replay: in a window, or in the browser of this computer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from handcap.errors import ReviewError

_LOOPBACK = "127.0.0.1"  # takes show people's homes: never offered to the network
_ELSEWHERE = "write a file with --save out.rrd and open it elsewhere, or see it in a browser with --serve"


def has_display() -> bool:
    """Whether a window could open here."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def require_display() -> None:
    """Raises ReviewError, which says what to do instead, where no window could open."""
    if not has_display():
        raise ReviewError("no display to open a window on", mend=_ELSEWHERE)


def open_viewer(replay: Path) -> None:
    """Show the replay in a window; returns when it is closed.

    Raises:
        ReviewError: there is no display, or no viewer.
    """
    require_display()
    command = [_executable(), "--bind", _LOOPBACK, "--port", "auto", "--hide-welcome-screen", str(replay)]
    shown = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if shown.returncode != 0:
        last = shown.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise ReviewError(f"the viewer stopped: {last[0]}", mend=_ELSEWHERE)


def serve(replay: Path, tell: Callable[[str], None]) -> None:
    """Offer the replay to browsers of this computer until interrupted.

    Args:
        tell: is given the address.

    Raises:
        ReviewError: the viewer stops by itself.
    """
    web, data = _free_port(), _free_port()
    command = [
        _executable(),
        "--serve-web",
        "--bind",
        _LOOPBACK,
        "--port",
        str(data),
        "--web-viewer-port",
        str(web),
        str(replay),
    ]
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # `rerun` starts the real program: both must end
    )
    try:
        source = quote(f"rerun+http://{_LOOPBACK}:{data}/proxy", safe="")
        tell(f"http://{_LOOPBACK}:{web}?url={source}")
        _, errors = server.communicate()
    except KeyboardInterrupt:
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    last = (errors or b"").decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
    raise ReviewError(f"the viewer stopped: {last[0]}", where=replay, mend="write a file with --save and open that")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return probe.getsockname()[1]


def _executable() -> str:
    """Rerun's viewer, which comes with its Python package."""
    beside = Path(sys.executable).with_name("rerun")
    found = str(beside) if beside.exists() else shutil.which("rerun")
    if found is None:
        raise ReviewError("the viewer `rerun` is not installed", mend="install handcap again: it brings the viewer")
    return found
