"""SIGKILL at random moments of recording sessions: no finished take lost, at most half a second of the open one.

A recorder of its own process records take after take of a second or two from three boards and three cameras; it is
killed while it records, while it ends or begins a take, and while it recovers what the kill before left. The next one
continues the same session. What it said it had finished must be there, unchanged; of the open take the last recovered
sample is measured against the moment of the kill, when the boards had sent all but the last 20 ms.

    python bench/capture_kill.py [KILLS]
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from handcap import session as session_store
from handcap.capture import Capture, capture_meta, virtual_rig
from handcap.capture.refit import refit_clocks
from handcap.devices import open_board
from handcap.sim.unrendered import unrendered
from handcap.types import Rig

OUT = Path("out/bench/capture_kill")
MOST_LOST_S = 0.5
KILLS_PER_SESSION = 10
# When to kill: after the recorder said the word, within so many seconds.
MOMENTS = {"recording": 2.5, "ending": 0.25, "starting": 0.15, "opening": 0.25}


@dataclass
class Tally:
    """What was seen over all kills."""

    lost: list[tuple[float, str]] = field(default_factory=list)
    finished: dict[str, str] = field(default_factory=dict)
    spoiled: list[str] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=dict)
    recovered: int = 0


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    unrendered(OUT / "source", 4.0, size=(640, 480), quality=40, grain=6)
    rng, tally, finished = random.Random(7), Tally(), 0
    for first in range(0, kills, KILLS_PER_SESSION):
        path = OUT / f"session-{first:03d}"
        with virtual_rig(1, 4.0, seed=first, rendered=OUT / "source", loop=True) as live:
            ports = json.dumps(dict(live.ports))
            for _ in range(min(KILLS_PER_SESSION, kills - first)):
                _one_kill(path, ports, rng, tally)
        session_store.recover(path)
        _finished_are_unchanged(path, tally)
        finished += len(tally.finished)
        tally.finished.clear()
        shutil.rmtree(path)
    ordered = sorted(tally.lost)
    worst, median = ordered[-1][0], ordered[len(ordered) // 2][0]
    print(f"kills {tally.kills}; {tally.recovered} takes recovered by the next start")
    print(f"finished takes {finished}, spoiled {len(tally.spoiled)} {tally.spoiled or ''}")
    print(f"lost of {len(ordered)} open takes: median {median:.3f} s, worst {worst:.3f} s")
    print("the worst:", ", ".join(f"{lost_s:.3f} s ({moment})" for lost_s, moment in ordered[-5:]))
    return 0 if not tally.spoiled and worst <= MOST_LOST_S else 1


def _one_kill(path: Path, ports: str, rng: random.Random, tally: Tally) -> None:
    moment = rng.choice(["recording", "recording", *MOMENTS])
    skip = rng.randrange(3)  # takes that are finished first
    recorder = subprocess.Popen(
        [sys.executable, __file__, "record", str(path), ports], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert recorder.stdout is not None
    heard: list[tuple[str, str]] = []
    wished_ns = 0
    word = "started" if moment == "recording" else moment
    while True:
        said = _next(recorder.stdout)
        if said is None:
            raise RuntimeError(f"the recorder ended by itself, code {recorder.wait()}")
        heard.append(said)
        wished_ns = time.monotonic_ns() if said[0] == "ending" else wished_ns
        if said[0] == word and (word == "opening" or sum(w == "ended" for w, _ in heard) >= skip):
            break
    time.sleep(rng.uniform(0.0, MOMENTS[moment]))
    recorder.kill()
    killed_ns = time.monotonic_ns()
    while (said := _next(recorder.stdout)) is not None:
        heard.append(said)
        wished_ns = killed_ns if said[0] == "ending" else wished_ns  # said just before, and read only now
    recorder.wait()
    recorder.stdout.close()
    tally.kills[moment] = tally.kills.get(moment, 0) + 1
    tally.recovered += sum(len(what.split()) for w, what in heard if w == "recovered")
    for word, take in heard:
        if word == "ended":
            tally.finished[take] = _digest(path / "raw" / take)
    started = [take for word, take in heard if word == "started"]
    if started and started[-1] not in tally.finished:  # what comes after the wish to end it is no part of a take
        lost_s = _lost_s(path, started[-1], wished_ns if heard[-1][0] == "ending" else killed_ns)
        tally.lost.append((lost_s, moment))
        print(f"    kill {sum(tally.kills.values())}, {moment}: {lost_s:.3f} s of the open take", flush=True)


def _next(stdout: IO[str]) -> tuple[str, str] | None:
    line = stdout.readline()
    if not line:
        return None
    word, _, rest = line.strip().partition(" ")
    return word, rest


def _lost_s(path: Path, take: str, killed_ns: int) -> float:
    """From the last sample that recovery saves of any board to the kill; on a copy, so that the next start recovers."""
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    session_store.recover(copy, refit_clocks)
    recorded = session_store.read(copy).take(take)
    boards = [device for device in recorded.devices if device != "cameras"]
    last = [int(recorded.imu(device).t_ns[-1]) for device in boards]
    last += [int(recorded.camera_stamps(camera)[-1]) for camera in recorded.cameras]
    shutil.rmtree(copy)
    if len(last) < 6:
        return (killed_ns - min(last, default=killed_ns)) / 1e9
    return (killed_ns - min(last)) / 1e9


def _finished_are_unchanged(path: Path, tally: Tally) -> None:
    session, records = session_store.read(path), session_store.read(path).journal()
    for take, digest in tally.finished.items():
        recorded, record = session.take(take), records[take]
        pictures = {f"/camera/{camera}": len(recorded.camera_stamps(camera)) for camera in recorded.cameras}
        whole = len(pictures) == 3 and record.counts is not None and pictures.items() <= record.counts.items()
        if not whole or record.state != "ended" or recorded.damage or _digest(path / "raw" / take) != digest:
            tally.spoiled.append(f"{path.name}/{take}")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def record(path: Path, ports: dict[str, str]) -> None:
    """Take after take until killed, each step said when it begins and when it is done."""
    rng = random.Random()
    with ExitStack() as held:
        boards = {name: held.enter_context(open_board(port)) for name, port in ports.items()}
        rig = _rig(path, {name: board.uid for name, board in boards.items()})
        meta = capture_meta(path, None, "bench", rig, boards)
        _say("opening")
        running = held.enter_context(Capture(path, meta, rig, boards, field_pass=False))
        _say("recovered", *(take.id for take in running.recovered))
        running.ready()
        while True:
            _say("starting")
            _say("started", running.start())
            time.sleep(rng.uniform(0.5, 2.5))
            _say("ending")
            _say("ended", running.end().take)


def _rig(path: Path, uids: dict[str, str]) -> Rig:
    rig = session_store.read_rig(path.parent / "source" / "rig.json")
    return replace(rig, devices={name: replace(device, uid=uids[name]) for name, device in rig.devices.items()})


def _say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        record(Path(sys.argv[2]), json.loads(sys.argv[3]))
    sys.exit(main())
