"""A task card and takes done by it, for tests of the guide: takes are told as boards and cameras would tell them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handcap.capture.board_watch import DeviceWatch
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.live import Ended
from handcap.capture.look import Eyes, Look
from handcap.capture.operator import Said
from handcap.capture.sentences import ended as ended_sentence
from handcap.capture.task_card import TaskCard, read_card
from handcap.capture.task_run import TaskRun
from handcap.capture.verdict import SpotVerdict
from handcap.capture.watch import TakeWatch
from handcap.causes import Cause
from handcap.clock import NS_PER_S
from handcap.devices import Message
from handcap.wire.handcap_pb2 import Encoder, Envelope

CARD = """\
id = "wipe"
good_takes = 3
length_s = [2, 30]
practice_takes = 2
[title]
en = "Wipe the table"
zh = "擦桌子"
[reset]
en = "Put the cloth back."
zh = "把抹布放回去。"
[[steps]]
id = "take"
en = "Take the cloth."
zh = "拿起抹布。"
must = { jaw_moved = ["left"] }
[[steps]]
id = "wipe"
en = "Wipe."
zh = "擦。"
must = { jaw_moved = ["right"], tags_in_view = ["right"], length_s = [2, 20] }
[[variations]]
id = "dry"
en = "A dry cloth."
zh = "干抹布。"
[[variations]]
id = "wet"
en = "A wet cloth."
zh = "湿抹布。"
task = "wipe with a wet cloth"
"""


def write_card(folder: Path, text: str = CARD) -> Path:
    path = folder / "task.toml"
    path.write_text(text, encoding="utf-8")
    return path


def card(folder: Path, text: str = CARD) -> TaskCard:
    return read_card(write_card(folder, text))


def watched(
    length_s: float = 10.0,
    jaws_s: Mapping[str, tuple[float, float]] | None = None,
    tags_s: tuple[float, float] = (0.0, 10.0),
    start_ns: int = 0,
) -> TakeWatch:
    """A take of two grippers.

    Args:
        length_s: of it.
        jaws_s: by side, from when to when it closes; the others stay as they are.
        tags_s: from when to when the right camera sees its tags.
        start_ns: of it.
    """
    jaws_s = {"left": (1.0, 2.0), "right": (6.0, 7.0)} if jaws_s is None else jaws_s
    devices = {side: DeviceWatch() for side in ("left", "right")}
    for side, device in devices.items():
        start_s, end_s = jaws_s.get(side, (length_s, length_s + 1))
        for seq, t_s in enumerate(np.arange(0, length_s, 0.1)):
            angle = round(4000 + 400 * np.clip((t_s - start_s) / (end_s - start_s), 0, 1)) % 4096
            said = Envelope(seq=seq, boot_id=7, encoder=Encoder(angle_counts=[angle], counts_per_turn=4096))
            device.add(Message(said.SerializeToString(), start_ns + round(t_s * NS_PER_S), 1), start_ns)
    right = CameraWatch(start_ns)
    for t_s in np.arange(0, length_s, 0.5):
        right.saw(Look(float(t_s), 100.0, 50, 0.9, 0.0, 1.0, int(tags_s[0] <= t_s <= tags_s[1])))
    end_ns = start_ns + round(length_s * NS_PER_S)
    return TakeWatch(start_ns, devices, {"right": right}, Eyes(None, start_ns), end_ns)


def ended(work: TaskRun, take: str, causes: tuple[Cause, ...] = (), **told: object) -> Said:
    """What listeners hear when a take has ended, judged by its card."""
    seen = watched(**told)  # pyright: ignore[reportArgumentType]
    verdict = work.judge(seen, SpotVerdict("partial" if causes else "ok", causes))
    done = Ended(take, seen, verdict, 0.1)
    return Said("ended", ended_sentence(done), take, done)
