"""A session to a LeRobotDataset: which pictures, which poses, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.errors import FormatError
from handcap.formats.episodes import Accept, AcceptedTake, Selection, provenance, select
from handcap.formats.lerobot import layout
from handcap.formats.lerobot.card import dataset_card
from handcap.formats.lerobot.dataset import DatasetWriter
from handcap.formats.lerobot.grid import Timeline, lay_out, nominal_fps, pieces, poses_at
from handcap.formats.lerobot.motion import ACTIONS, POSE_NAMES, Action, actions, pose_vector
from handcap.formats.output import write_json
from handcap.formats.task_labels import UNLABELLED, StepSpan, instruction, step_spans
from handcap.session import Session, new_folder, read_trajectory
from handcap.types import Stamps, Trajectory

ROBOT_TYPE = "handcap_head"
_CAMERA_KEY = "observation.images.{camera}"
_SIGMA_NAMES = ("sigma_rx", "sigma_ry", "sigma_rz", "sigma_x", "sigma_y", "sigma_z")


@dataclass(frozen=True, slots=True)
class LeRobotParams:
    """How a dataset is made."""

    action: Action = "relative"
    longest_hold_periods: float = 3.5  # two pictures lost in a row are bridged by repeating; more end the episode
    shortest_episode_s: float = 0.5  # less than a second teaches nothing; such pieces are counted and left out
    sampled_pictures: int = 100  # per episode, for picture statistics
    crf: int = 23  # x264's own choice; at 752 × 480 some 0.5 MB a second


@dataclass(frozen=True, slots=True)
class LeRobotExport:
    """What was written.

    Attributes:
        folder: the dataset.
        fps, episodes, frames: its size.
        held: frames that repeat a picture because one was lost.
        takes: exported take to its verdict; left_out: other take to the reason.
    """

    folder: Path
    fps: int
    episodes: int
    frames: int
    held: int
    takes: dict[str, str]
    left_out: dict[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class _Episode:
    chosen: AcceptedTake
    rows: Trajectory
    timeline: Timeline


def export_lerobot(
    session: Session,
    out: Path,
    accept: Accept = "auto",
    params: LeRobotParams | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> LeRobotExport:
    """Write a dataset; the same session gives the same bytes.

    Raises:
        FormatError: nothing qualifies, `out` exists, or takes were recorded at different picture sizes.
        SessionError: the recording or its reconstruction cannot be read.
    """
    params = params or LeRobotParams()
    assert params.action in ACTIONS, params.action
    selection = select(session, accept)
    fps, episodes, short = _plan(selection, params)
    if not episodes:
        what = f"nothing to export: no piece of a take lasts {params.shortest_episode_s} s"
        raise FormatError(what, where=session.path, mend="record longer takes")
    camera = _camera(selection)
    with new_folder(out) as folder:
        writer = DatasetWriter(folder, _CAMERA_KEY.format(camera=camera), fps, params.crf)
        known_sigma = all(np.isfinite(e.rows.cov).all() for e in episodes)
        done, total = 0, sum(len(e.timeline) for e in episodes)
        spans = {chosen.take: step_spans(session, chosen.take) for chosen in selection.takes}
        labelled = any(spans.values())
        for chosen in selection.takes:
            of_take = [e for e in episodes if e.chosen is chosen]
            imu_rows = _imu_rows(session, chosen.take)
            task = instruction(session, chosen.take)
            frames = _Frames(session, chosen.take, camera)
            for episode in of_take:
                _add_pictures(writer, episode, frames, params)
                steps = _steps(episode.timeline.t_ns, spans[chosen.take]) if labelled else None
                writer.end_episode(_columns(episode, imu_rows, params.action, known_sigma), task, steps)
                done += len(episode.timeline)
                on_progress("Exporting", done / total)
        writer.close(_features(writer.size, camera, fps, params.action, known_sigma, labelled), ROBOT_TYPE)
        held = int(sum(e.timeline.held.sum() for e in episodes))
        origin = provenance(session, selection, {"format": "lerobot", "camera": camera, **asdict(params)})
        origin["counts"] = {
            "repeated_pictures": held,
            "pieces_too_short": short,
            "labelled_steps": sum(len(of_take) for of_take in spans.values()),
        }
        write_json(folder / "handcap.json", origin)
        card = dataset_card(origin, fps, writer.episodes, writer.frames)
        (folder / "README.md").write_text(card, encoding="utf-8")
    verdicts = {chosen.take: str(chosen.report["verdict"]) for chosen in selection.takes}
    return LeRobotExport(out, fps, writer.episodes, writer.frames, held, verdicts, dict(selection.left_out))


def _plan(selection: Selection, params: LeRobotParams) -> tuple[int, list[_Episode], int]:
    """Frame rate, episodes in order, and how many pieces are too short to be one."""
    spans: list[tuple[AcceptedTake, Trajectory]] = []
    for chosen in selection.takes:
        if "head" not in chosen.bodies:
            raise FormatError(
                f"take {chosen.take} has no head, whose pictures and motion the dataset is made of",
                mend="export its grippers with `handcap export tum`",
            )
        head = chosen.bodies["head"]
        spans += [(chosen, head.where(chosen.span_of_row["head"] == k)) for k in range(len(chosen.spans_s))]
    spans = [(chosen, rows) for chosen, rows in spans if len(rows) > 1]
    if not spans:
        return 1, [], 0
    fps = nominal_fps([rows.t_ns for _, rows in spans])
    episodes: list[_Episode] = []
    short = 0
    for chosen, rows in spans:
        period_s = float(np.median(np.diff(rows.t_ns))) / NS_PER_S
        for piece in pieces(rows.t_ns, params.longest_hold_periods * period_s):
            part = rows.where(piece)
            if part.t_ns[-1] - part.t_ns[0] < params.shortest_episode_s * NS_PER_S:
                short += 1
            else:
                episodes.append(_Episode(chosen, part, lay_out(part.t_ns, fps)))
    return fps, episodes, short


def _camera(selection: Selection) -> str:
    """The camera that the head was reconstructed from; the same for all takes of a session."""
    cameras = {str((chosen.report.get("rig") or {}).get("camera") or "head"): None for chosen in selection.takes}
    if len(cameras) > 1:
        what = f"takes were reconstructed from different cameras: {', '.join(cameras)}"
        raise FormatError(what, mend="reconstruct them with one rig.json")
    return next(iter(cameras))


def _imu_rows(session: Session, take: str) -> Trajectory | None:
    path = session.derived(take, "reconstruct") / "head_imu.parquet"
    return read_trajectory(path) if path.exists() else None


class _Frames:
    """Pictures of a take in order, the last one kept: each is asked for once or, when held, again."""

    def __init__(self, session: Session, take: str, camera: str) -> None:
        self._where = f"{session.path}, take {take}"
        self._stream = session.take(take).frames(camera, grey=False)
        self._t_ns: int | None = None
        self._image: NDArray[np.uint8] | None = None

    def at(self, camera_t_ns: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB; stamps asked for must not run back."""
        while self._t_ns is None or self._t_ns < camera_t_ns:
            frame = next(self._stream, None)
            if frame is None:
                break
            self._t_ns, self._image = frame.t_ns, frame.image
        if self._image is None or self._t_ns != camera_t_ns:
            raise FormatError(
                f"the picture stamped {camera_t_ns} ns, which has a pose, is not in the recording",
                where=self._where,
                mend="run `handcap reconstruct` again: raw data changed since",
            )
        return self._image


def _add_pictures(writer: DatasetWriter, episode: _Episode, frames: _Frames, params: LeRobotParams) -> None:
    n = len(episode.timeline)
    sampled = frozenset(np.linspace(0, n - 1, min(n, params.sampled_pictures)).round().astype(int).tolist())
    for k, row in enumerate(episode.timeline.row.tolist()):
        image = frames.at(int(episode.rows.camera_t_ns[row]))
        if not writer.fits(image):
            raise FormatError(
                f"pictures change their size within the session, to {image.shape[1]} x {image.shape[0]}",
                where=f"take {episode.chosen.take}",
                mend="export sessions of one picture size; record the others separately",
            )
        writer.add_picture(image, sample=k in sampled)


def _columns(
    episode: _Episode, imu_rows: Trajectory | None, action: Action, known_sigma: bool
) -> dict[str, NDArray[Any]]:
    timeline, rows = episode.timeline, episode.rows
    T = poses_at(rows, imu_rows, timeline.t_ns)
    columns: dict[str, NDArray[Any]] = {
        "observation.state": pose_vector(T).astype(np.float32),
        "action": pose_vector(actions(T, action)).astype(np.float32),
        "t_ns": timeline.t_ns[:, None],
        "camera_t_ns": rows.camera_t_ns[timeline.row][:, None],
    }
    if known_sigma:
        variance = np.diagonal(rows.cov[timeline.row], axis1=1, axis2=2)
        columns["state_sigma"] = np.sqrt(np.maximum(variance, 0)).astype(np.float32)
    return columns


def _steps(t_ns: Stamps, spans: Sequence[StepSpan]) -> list[str]:
    """(n,) sentence of the step that was being done at each time; "unlabelled" where nobody knows."""
    texts = [UNLABELLED] * len(t_ns)
    for span in spans:
        if span.end_ns is not None:
            for k in np.flatnonzero((t_ns >= span.start_ns) & (t_ns < span.end_ns)).tolist():
                texts[k] = span.text
    return texts


def _features(
    size: tuple[int, int], camera: str, fps: int, action: Action, known_sigma: bool, labelled: bool
) -> dict[str, Any]:
    prefix = {"relative": "d", "absolute": ""}[action]
    features = {
        _CAMERA_KEY.format(camera=camera): layout.video(size, fps),
        "observation.state": layout.vector("float32", [f"head.{name}" for name in POSE_NAMES]),
        "action": layout.vector("float32", [f"head.{prefix}{name}" for name in POSE_NAMES]),
        "t_ns": layout.vector("int64", ["session_clock_ns"]),
        "camera_t_ns": layout.vector("int64", ["camera_clock_ns"]),
    }
    if labelled:
        features["subtask_index"] = {"dtype": "int64", "shape": [1], "names": None}
    if known_sigma:
        features["state_sigma"] = layout.vector("float32", [f"head.{name}" for name in _SIGMA_NAMES])
    return features
