"""Sessions to export, made by hand in milliseconds: coloured pictures and a smooth trajectory, no reconstruction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handcap import session as session_store
from handcap.cameras import PinholeRadtan
from handcap.geometry import se3, so3_exp
from handcap.types import Device, ImuModel, MountedCamera, Rig, Trajectory

PERIOD_NS = 50_000_000
FIRST_NS = 1_700_000_000_000_000_000
OFFSET_NS = 3_000_001


def rig(width: int = 64, height: int = 48) -> Rig:
    camera = PinholeRadtan(width, height, (50.0, 50.0, width / 2, height / 2, 0, 0, 0, 0))
    device = Device(ImuModel(200.0, 1e-3, 1e-2, 1e-5, 1e-4))
    return Rig("test", {"head": device}, {"head": MountedCamera("head", camera, np.eye(4))})


def pose_at(t_s: float) -> np.ndarray:
    """(4, 4) of the head, `t_s` after the first picture."""
    return se3(so3_exp([0.3 * t_s, -0.2 * t_s, 0.1]), [0.1 * t_s, np.sin(t_s), 1.5])


def picture(k: int, width: int = 64, height: int = 48) -> bytes:
    """The k-th picture, told by its grey level: 3 apart, as video coding may be 1 off."""
    return cv2.imencode(".png", np.full((height, width), 40 + 3 * k, np.uint8))[1].tobytes()


def write_session(
    path: Path,
    keep: list[int] | None = None,
    task: str | None = None,
    takes: tuple[str | None, ...] = (None,),
    **sizes: int,
) -> Path:
    """Takes (tasks of each) of 60 pictures at 20 Hz (those in `keep`) and 200 Hz IMU samples."""
    keep = list(range(60)) if keep is None else keep
    meta = session_store.SessionMeta(
        id="made-by-hand",
        created="2026-01-01T00:00:00Z",
        origin="import",
        clock=session_store.SessionClock(kind="import"),
        task=task,
    )
    with session_store.create(path, meta, rig(**sizes)) as writer:
        for its_task in takes:
            with writer.start_take(its_task) as take:
                _fill(take, keep, **sizes)
    return path


def _fill(take: session_store.TakeWriter, keep: list[int], **sizes: int) -> None:
    for k in keep:
        take.add_image("head", FIRST_NS + k * PERIOD_NS, picture(k, **sizes), "png")
    t_ns = FIRST_NS + np.arange(600, dtype=np.int64) * 5_000_000
    take.add_imu_si("head", t_ns, np.zeros((600, 3)), np.tile([0, 0, 9.81], (600, 1)))


def write_result(
    path: Path,
    keep: list[int] | None = None,
    verdict: str = "ok",
    spans: list[tuple[float, float]] | None = None,
    untracked: tuple[int, ...] = (),
    take: str = "0001",
    **more: Any,
) -> None:
    """What `handcap reconstruct` would have left for a take."""
    keep = list(range(60)) if keep is None else keep
    session = session_store.read(path)
    k = np.array(keep, np.int64)
    tracked = ~np.isin(k, untracked)
    T = np.stack([pose_at(i * PERIOD_NS / 1e9) for i in keep])
    T[~tracked] = np.nan
    cov = np.where(tracked[:, None, None], np.diag([1e-6] * 3 + [4e-6] * 3), np.nan)
    stamps = FIRST_NS + k * PERIOD_NS
    head = Trajectory("head", stamps + OFFSET_NS, stamps, T, cov, tracked)
    whole = [(0.0, float((k[-1] - k[0]) * PERIOD_NS / 1e9))]
    with session_store.write_stage(session, take, "reconstruct") as folder:
        report = {"verdict": verdict, "causes": [], "spans_ok_s": whole if spans is None else spans} | more
        session_store.write_report(folder, report)
        if verdict != "refused":
            session_store.write_trajectory(folder / "head.parquet", head)


def set_verdict(session: Path, verdict: str, spans: list[tuple[float, float]]) -> None:
    """Change the report of take 0001 in place."""
    path = session / "derived" / "0001" / "reconstruct" / "report.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps(report | {"verdict": verdict, "spans_ok_s": spans}))


def say(session: Path, reviewer: str, *lines: str) -> None:
    """Append a reviewer's lines."""
    folder = session / "review"
    folder.mkdir(exist_ok=True)
    with open(folder / f"{reviewer}.jsonl", "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
