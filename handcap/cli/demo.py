"""`handcap demo`: the whole chain once, on a virtual rig or on a real recording."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handcap.causes import Language
from handcap.cli.demo_table import Row, error_rows, print_table, result_rows
from handcap.cli.options import AsJson, Lang
from handcap.cli.outcome import Outcome, finish
from handcap.cli.progress import OnProgress, progress
from handcap.errors import FormatError, HandcapError, ModelError, ReconstructionError, UsageError

if TYPE_CHECKING:
    from handcap.session import Session
    from handcap.types import Trajectory

_OFFSET_S = 0.008  # camera and IMU of the virtual rig disagree by this much: something to find out
_TRUTH_FILE = "groundtruth_tum.txt"


@dataclass(frozen=True, eq=False, slots=True)
class _Chain:
    """What the chain left behind.

    Attributes:
        dataset, picture: None when no take could be reconstructed.
        views: what every camera saw; None for a single camera.
        rows: of the table.
    """

    session: Session
    takes: Mapping[str, str]
    causes: list[Any]
    replay: Path
    dataset: Path | None
    picture: Path | None
    views: Path | None
    rows: list[Row]

    def outputs(self) -> list[Path]:
        found = (self.session.path, self.dataset, self.replay, self.picture, self.views)
        return [path for path in found if path is not None]


def demo(
    source: Annotated[
        Path | None, typer.Option("--from", help="Real recording: an ASL folder (mav0 as EuRoC has it) or a session.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the results; default: demo, demo-2, ...")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the simulated recording.", min=2.0, max=600.0)] = 10.0,
    as_json: AsJson = False,
    lang: Lang = "en",
) -> None:
    """Recording to trajectory, robot dataset and replay in one go; with the error wherever there is a truth."""
    folder = _new_folder(out)
    with _vanishing_on_error(folder), progress(as_json) as on_progress:
        # Only a first try-out asks the network: where a real recording is made there may be none.
        no_models = _missing_models() if source is None else None
        chain = _run(source, folder, seconds, lang, on_progress)
    simulated = chain.session.meta.origin == "simulation"
    if not as_json:
        print_table(_title(chain, simulated, lang), chain.rows, lang)
    # Of rows that every camera has, the first is the head's.
    details = {"table": {row.key: row.value for row in reversed(chain.rows)}, "virtual": simulated}
    finish(Outcome(chain.outputs(), chain.takes, _last_lines(chain, no_models, lang), details, _error(chain)), as_json)


@contextmanager
def _vanishing_on_error(folder: Path) -> Iterator[None]:
    """Make a folder that goes again when the block fails."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made[1:]:
                parent.rmdir()
            raise
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise FormatError(what, where=folder, mend="free some disk space, or give --out another folder") from error


def _new_folder(out: Path | None) -> Path:
    if out is not None:
        if out.is_symlink() or out.exists():
            raise UsageError("exists already", where=out, mend="give --out a new folder, or leave it out")
        return out
    n = 1
    while (folder := Path("demo" if n == 1 else f"demo-{n}")).exists() or folder.is_symlink():
        n += 1
    return folder


def _run(source: Path | None, folder: Path, seconds: float, lang: Language, on_progress: OnProgress) -> _Chain:
    from handcap import reconstruct, review, sim
    from handcap import session as session_store
    from handcap.formats.lerobot import export_lerobot

    def step(start: float, end: float) -> OnProgress:
        return lambda what, share: on_progress(what, start + (end - start) * share)

    if source is None:
        path = sim.simulate(
            folder / "session",
            rig="full",
            seconds=seconds,
            dt_imu_cam_s=_OFFSET_S,
            on_progress=lambda done, total: step(0.0, 0.65)("Simulating", done / total),
        )
    else:
        path = _session_from(source, folder, step(0.0, 0.1))
    session = session_store.read(path)
    if not all((session.derived(take, "reconstruct") / "report.json").exists() for take in session.takes):
        reconstruct.run_session(path, on_progress=step(0.65 if source is None else 0.1, 0.9))
    session = session_store.read(path)
    found = review.find_takes([path])
    takes = {take: review.verdict(opened, take) for opened, take in found}
    causes = [line for opened, take in found for line in review.spoken_verdict(opened, take, lang)]
    review.write_replay(found, folder / "replay.rrd", on_progress=step(0.9, 0.93))
    best = next((take for take, verdict in takes.items() if verdict in ("ok", "partial")), None)
    if best is None:
        return _Chain(session, takes, causes, folder / "replay.rrd", None, None, None, [])
    truth = _truth(session, source)
    rows = result_rows(session, best)
    if truth is not None:
        rows = error_rows(session, best, truth) + rows
    title = (
        "a virtual rig in a virtual kitchen" if session.meta.origin == "simulation" else f"session {session.meta.id}"
    )
    review.draw_still(session, best, folder / "picture.png", truth, f"handcap demo: {title}")
    views = folder / "cameras.png" if len(session.rig.cameras) > 1 else None
    if views is not None:
        review.draw_views(session, best, views)
    export_lerobot(session, folder / "lerobot", on_progress=step(0.93, 1.0))
    return _Chain(
        session, takes, causes, folder / "replay.rrd", folder / "lerobot", folder / "picture.png", views, rows
    )


def _session_from(source: Path, folder: Path, on_progress: OnProgress) -> Path:
    """A session as it is, or one imported from an ASL folder."""
    if not source.exists():
        raise UsageError("no such folder", where=source, mend="check the path after --from")
    if (source / "session.json").exists():
        return source
    from handcap.formats.euroc import import_euroc

    import_euroc(source, folder / "session", on_progress=on_progress)
    return folder / "session"


def _truth(session: Session, source: Path | None) -> Trajectory | None:
    """Dense truth of a simulated session, or of a recording with groundtruth_tum.txt beside mav0."""
    from handcap.formats.tum import read_tum
    from handcap.session import read_trajectory

    simulated = session.path / "truth" / "head_imu.parquet"
    if simulated.exists():
        return read_trajectory(simulated)
    if source is None:
        return None
    beside = [folder / _TRUTH_FILE for folder in (source, source.resolve().parent) if (folder / _TRUTH_FILE).exists()]
    return read_tum(beside[0]) if beside and (source.name == "mav0" or beside[0].parent == source) else None


def _title(chain: _Chain, simulated: bool, lang: Language) -> str:
    if simulated:
        return {
            "en": "Virtual rig: error against the simulation's exact truth; it says nothing about real hardware.",
            "zh": "虚拟设备:误差相对于仿真真值,不代表真实硬件。",
        }[lang]
    return {
        "en": f"Recording {chain.session.meta.id}",
        "zh": f"录制 {chain.session.meta.id}",
    }[lang]


def _last_lines(chain: _Chain, no_models: HandcapError | None, lang: Language) -> list[str]:
    lines = list(chain.causes)
    names = {
        "en": ("session", "robot dataset (LeRobot v3.0)", "replay", "picture", "what each camera saw"),
        "zh": ("会话", "机器人数据集(LeRobot v3.0)", "回放", "图片", "各相机所见"),
    }[lang]
    paths = (chain.session.path, chain.dataset, chain.replay, chain.picture, chain.views)
    lines += [f"{name}: {path}" for name, path in zip(names, paths, strict=True) if path is not None]
    if no_models is not None:
        lines.append(
            {
                "en": f"The weights for bare hands are not here yet ({no_models.what}): {no_models.mend}",
                "zh": f"裸手模型权重尚未下载({no_models.what}):{no_models.mend}",
            }[lang]
        )
    following = {
        "en": ("look at it", "your own recording", "read on"),
        "zh": ("查看回放", "使用您自己的录制", "继续阅读"),
    }[lang]
    commands = (
        f"handcap review {chain.session.path}     (--serve where there is no display)",
        "handcap demo --from FOLDER     (holds mav0/cam0 and mav0/imu0)",
        "README.md, docs/formats.md, handcap --help",
    )
    return [*lines, "", *(f"{word}: {command}" for word, command in zip(following, commands, strict=True))]


def _missing_models() -> HandcapError | None:
    """Fetch what hands will need; why that failed."""
    from handcap import models

    try:
        models.ensure(models.HAND_LANDMARKER)
    except ModelError as error:
        if os.environ.get("CI"):
            raise
        return error
    return None


def _error(chain: _Chain) -> HandcapError | None:
    if chain.dataset is not None:
        return None
    return ReconstructionError(
        "no take could be reconstructed; the causes are above and in the replay",
        where=chain.session.path,
        mend="do what the causes say and record again",
    )
