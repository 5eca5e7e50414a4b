"""The full rig for ten minutes: nothing lost, at most 30 % of one core, memory flat.

Three boards at 1 kHz over ptys and three cameras of 1280x720 at 30 fps MJPEG over TCP, sent in real time by a process
of their own; this process is the recorder, as `handcap capture` is, its verdict on the spot included.

    python bench/capture_load.py [MINUTES]
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from handcap import session as session_store
from handcap.capture import Capture, capture_meta, virtual_rig
from handcap.capture.virtual import NODE
from handcap.devices import open_board
from handcap.sim.unrendered import unrendered

OUT = Path("out/bench/capture_load")
MOST_CPU = 0.30
MOST_GROWTH_MB = 16
RATE_HZ, FPS = 1000, 30


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    unrendered(OUT / "source", 3.0, size=(1280, 720), fps=FPS, rate_hz=RATE_HZ)
    source = session_store.read(OUT / "source").take("0001")
    sizes = [len(packet.data) for camera in source.cameras for packet in source.packets(camera)]
    print(f"pictures of {sum(sizes) / len(sizes) / 1e3:.0f} kB, {os.cpu_count()} cores")
    well, whole = _record(minutes), _everything_is_there(minutes)
    shutil.rmtree(OUT / "session")
    return 0 if well and whole else 1


def _record(minutes: float) -> bool:
    shares: list[float] = []
    memory_mb: list[float] = []
    with ExitStack() as held:
        live = held.enter_context(virtual_rig(1, 3.0, rendered=OUT / "source", loop=True))
        boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
        rig = live.rig(boards)
        meta = capture_meta(OUT / "session", None, None, rig, boards)
        running = held.enter_context(Capture(OUT / "session", meta, rig, boards, field_pass=False))
        running.ready()
        running.start()
        print("minute   CPU of one core   of which looking   memory")
        end = time.monotonic() + 60 * minutes
        while (left := end - time.monotonic()) > 0.5:
            cpu, looked, began = time.process_time(), _cpu_s("handcap looker"), time.monotonic()
            time.sleep(min(60.0, left))
            took = time.monotonic() - began
            shares.append((time.process_time() - cpu) / took)
            looking = (_cpu_s("handcap looker") - looked) / took
            memory_mb.append(_resident_mb())
            print(f"{len(shares):6d} {shares[-1]:16.1%} {looking:18.1%} {memory_mb[-1]:6.0f} MB", flush=True)
        threads = {thread.name: _cpu_s(thread.name) for thread in threading.enumerate()}
        ended = running.end()
        lost = {name: board.losses.as_dict() for name, board in boards.items() if board.losses.any}
        dropped = running.recorder.dropped
    for name, cpu_s in sorted(threads.items(), key=lambda item: -item[1]):
        print(f"    {name:40s} {cpu_s / (60 * minutes):6.1%}")
    share = sum(shares) / len(shares)
    growth_mb = min(memory_mb[-3:]) - min(memory_mb[:3])  # what it holds between two segments
    print(f"verdict {ended.verdict.verdict} in {ended.took_s:.2f} s; lost on the way: {lost or 'nothing'}")
    print(f"thrown away for the disk: {dropped.pictures or 'nothing'} {dropped.messages or ''}")
    print(f"CPU {share:.1%} of one core (at most {MOST_CPU:.0%}), memory grew by {growth_mb:+.0f} MB")
    return not lost and not dropped.pictures and share <= MOST_CPU and growth_mb <= MOST_GROWTH_MB


def _cpu_s(name: str) -> float:
    """Of all threads of a name."""
    alive = [thread for thread in threading.enumerate() if thread.name == name and thread.ident is not None]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in alive)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _everything_is_there(minutes: float) -> bool:
    """Counts what boards numbered, in the file."""
    take = session_store.read(OUT / "session").take("0001")
    missing = 0
    for device in take.devices:
        if device != NODE:
            seqs = [envelope.seq for _, envelope in take.wire(device)]
            missing += seqs[-1] - seqs[0] + 1 - len(seqs)
            missing += len(take.imu(device)) < RATE_HZ * 60 * minutes
    numbers: dict[str, list[int]] = {}
    for _, envelope in take.wire(NODE):
        if envelope.HasField("video_frame"):
            numbers.setdefault(envelope.video_frame.camera, []).append(envelope.video_frame.frame)
    for camera in take.cameras:
        frames = numbers[camera]
        missing += frames[-1] - frames[0] + 1 - len(take.camera_stamps(camera))
    count = sum(len(take.camera_stamps(camera)) for camera in take.cameras)
    print(f"in the file: {count} pictures, {len(take.devices) - 1} boards, {missing} missing, damage {take.damage}")
    return missing == 0 and not take.damage and len(take.cameras) == 3


if __name__ == "__main__":
    sys.exit(main())
