"""Draw docs/capture_screen.svg: the screen of a real session of the virtual rig, in the middle of its third take.

`python tools/picture_capture_screen.py [SIMULATED_SESSION]`; without one, it is rendered first, which takes minutes.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from handcap.capture import Capture, capture_meta, virtual_rig
from handcap.capture.operator import Operator, Said, Wishes
from handcap.cli.capture import KEYS_LINE
from handcap.cli.capture_screen import Screen
from handcap.devices import open_board

OUT = Path(__file__).parents[1] / "docs" / "capture_screen.svg"
TAKES, SECONDS = 3, 8.0


class Ended:
    """A listener that passes on which takes have ended."""

    def __init__(self, queue: SimpleQueue[Said]) -> None:
        self._queue = queue

    def hear(self, said: Said) -> None:
        if said.kind == "ended":
            self._queue.put(said)


def drawn_as_svg(screen: Screen) -> str:
    """As it is by now, in whatever fixed-width font there is: pages that show it load no fonts."""
    picture = Console(record=True, width=94, file=io.StringIO(), force_terminal=True)
    picture.print(screen.picture())
    svg = re.sub(r"@font-face \{.*?\}\s*", "", picture.export_svg(title="handcap capture"), flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace", "font-family: monospace")


def main() -> None:
    rendered = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        live = held.enter_context(virtual_rig(TAKES, SECONDS, rendered=rendered))
        boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
        rig = live.rig(boards)
        session = folder / "kitchen-monday"
        meta = capture_meta(session, "tidy the table", None, rig, boards)
        running = held.enter_context(Capture(session, meta, rig, boards))
        running.ready()
        screen = held.enter_context(Screen(running, "en", KEYS_LINE["en"], console=Console(file=io.StringIO())))
        screen.title = session.name
        wishes: Wishes = SimpleQueue()
        ended: SimpleQueue[Said] = SimpleQueue()
        operator = Operator(running, wishes, listeners=[screen, Ended(ended)])
        thread = threading.Thread(target=operator.run)
        thread.start()
        for take in range(1, TAKES + 1):
            wishes.put("start")
            time.sleep(SECONDS if take < TAKES else 0.7 * SECONDS)
            if take < TAKES:
                wishes.put("end")
                ended.get()
        OUT.write_text(drawn_as_svg(screen), encoding="utf-8")
        for wish in ("end", "finish", "yes"):
            wishes.put(wish)
        thread.join()
    print(OUT)


if __name__ == "__main__":
    main()
