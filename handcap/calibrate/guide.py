"""`calibrate run`: what a rig still needs, one recording at a time, and how long that takes.

All that is known lies in one folder: `base.json` (the drawing), `run.json` (which recordings were used), `parts/`. A
step is done when the folder holds its parts and none is refused, so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handcap import session as session_store
from handcap.boards import Board
from handcap.calibrate.clash import require_own_markers
from handcap.calibrate.join import JoinParams, Wishes
from handcap.calibrate.part import Part, read_part
from handcap.calibrate.put import put
from handcap.calibrate.rig import Earlier, RigResult, calibrate_rig
from handcap.causes import Language, Verdict
from handcap.errors import CalibrationError, SessionError
from handcap.session.folder import replace_file
from handcap.session.rig_file import read_rig, require_devices, rig_bytes
from handcap.session.stage_output import as_json
from handcap.types import SIDES, Rig

Key = Literal["still", "poses", "lens", "mount", "jaws"]
OnProgress = Callable[[str, float], None]
BASE, RUN, PARTS, RIG = "base.json", "run.json", "parts", "rig.json"
FLOOR_S = 15 * 60.0  # what a full rig may take of somebody's hands


@dataclass(frozen=True, slots=True)
class GuideParams:
    """How long each recording is, s.

    Attributes:
        still_s: noise densities to a few percent; random walks need hours and stay the part's nominal ones.
        poses_s: eighteen attitudes of 4.5 s, all devices at once.
        lens_s: before the board, for each device that has a camera: forty views at the pace of a hand.
        mount_s: likewise, moving briskly: a lens wants the board in the corners of the picture, a mount wants it never
            lost, and one recording does both badly (on the virtual rig, it was refused).
        jaws_s: for each gripper: seven blocks there and back at four seconds.
        set_up_s: to begin and end any recording, and to take the rig in hand.
    """

    still_s: float = 120.0
    poses_s: float = 90.0
    lens_s: float = 60.0
    mount_s: float = 30.0
    jaws_s: float = 60.0
    set_up_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One recording and what comes of it.

    Attributes:
        key: which recording.
        seconds: how long it should be.
        hands_s: how long it keeps somebody busy.
        stems: parts that come of it.
        words: what to do, by language.
    """

    key: Key
    seconds: float
    hands_s: float
    stems: tuple[str, ...]
    words: Mapping[Language, str]


class _Recording(BaseModel):
    session: str
    take: str
    seconds: float


class _RunFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    board: str | None = None
    gauges_mm: list[float] = Field(default=[10, 20, 30, 40, 50, 60, 70])
    recordings: dict[Key, _Recording] = {}


@dataclass(frozen=True, eq=False, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        steps: all that this rig needs.
        done: keys of those that are done.
        recorded_s: of the recordings used.
        hands_s: what all steps together take of somebody's hands.
        refused: parts that have to be made again.
    """

    steps: tuple[Step, ...]
    done: tuple[Key, ...]
    recorded_s: float
    hands_s: float
    refused: tuple[Part, ...] = ()

    @property
    def next_step(self) -> Step | None:
        return next((step for step in self.steps if step.key not in self.done), None)


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """Parts of one recording, and the files they lie in."""

    parts: tuple[Part, ...]
    outputs: tuple[Path, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        said = [part.verdict for part in self.parts]
        return "refused" if "refused" in said else "partial" if "partial" in said else "ok"


def plan(rig: Rig, params: GuideParams | None = None) -> tuple[Step, ...]:
    """Every recording that a rig needs, in the order in which one builds on another."""
    params = params or GuideParams()
    seeing = list(dict.fromkeys(camera.device for camera in rig.cameras.values()))
    imus = tuple(f"imu-{device}" for device in rig.devices)
    steps = [
        Step("still", params.still_s, params.set_up_s, (), _still(params.still_s)),
        Step("poses", params.poses_s, params.poses_s + params.set_up_s, imus, _poses(params.poses_s)),
    ]
    if seeing:
        lens_s, mount_s = params.lens_s * len(seeing), params.mount_s * len(seeing)
        lenses, mounts = (tuple(f"{step}-{name}" for name in rig.cameras) for step in ("camera", "camera-imu"))
        steps += [
            Step("lens", lens_s, lens_s + params.set_up_s, lenses, _lens(params.lens_s, seeing)),
            Step("mount", mount_s, mount_s + params.set_up_s, mounts, _mount(params.mount_s, seeing)),
        ]
    sides = tuple(side for side in SIDES if side in rig.grippers)
    if sides:
        seconds = params.jaws_s * len(sides)
        stems = tuple(f"gripper-{side}" for side in sides)
        steps.append(Step("jaws", seconds, seconds + params.set_up_s, stems, _jaws(sides)))
    return tuple(steps)


def _still(seconds: float) -> dict[Language, str]:
    return {
        "en": f"Lay the whole rig on a firm table, switch it on, and leave it alone for {seconds:.0f} s.",
        "zh": f"将整套设备平放在稳固的桌面上,开机后静置 {seconds:.0f} 秒,不要触碰。",
    }


def _poses(seconds: float) -> dict[Language, str]:
    return {
        "en": f"Lay every device down on each of its six sides, then askew, holding still for two seconds each time; "
        f"{seconds:.0f} s in all.",
        "zh": f"将每个设备依次以六个面放置,再以倾斜姿态放置,每个姿态静止两秒;共 {seconds:.0f} 秒。",
    }


def _lens(seconds: float, devices: Sequence[str]) -> dict[Language, str]:
    names = ", ".join(devices)
    return {
        "en": f"Fix the board to a wall. Take each of {names} in hand for {seconds:.0f} s and look at the board "
        "calmly, from near and far and tilted every way, until it has been in every corner of the picture.",
        "zh": f"将标定板固定在墙上。依次手持 {names},各 {seconds:.0f} 秒:从远近不同处、以各种倾斜角度"
        "平稳地观察标定板,直到它出现过画面的每个角落。",
    }


def _mount(seconds: float, devices: Sequence[str]) -> dict[Language, str]:
    names = ", ".join(devices)
    return {
        "en": f"Before the same board, take each of {names} in hand for {seconds:.0f} s: turn it about all three axes "
        "and move it briskly to and fro, and keep the whole board in the picture.",
        "zh": f"面对同一块标定板,依次手持 {names},各 {seconds:.0f} 秒:绕三个轴转动并轻快地来回移动,"
        "始终让整块标定板留在画面内。",
    }


def _jaws(sides: Sequence[str]) -> dict[Language, str]:
    names = " and ".join(sides)
    return {
        "en": f"With the gripper ({names}), close the jaws on every gauge block from the narrow to the wide and back, "
        "holding each for a second.",
        "zh": f"用夹爪({names})从窄到宽、再从宽到窄依次夹住每块量块,每次保持一秒。",
    }


class Guide:
    """One rig's calibration, resumable.

    Attributes:
        folder: where everything of this run lies.
        rig: the drawing, under the rig's own id.
    """

    def __init__(self, folder: Path, params: GuideParams | None = None) -> None:
        """Go on with a run.

        Raises:
            CalibrationError: nothing was begun there, or its files are damaged.
            RigError: the drawing is none.
        """
        self.folder = Path(folder)
        if not (self.folder / BASE).is_file():
            raise CalibrationError(
                "no calibration was begun here",
                where=self.folder,
                mend="give --base with the rig's drawing, or --session with its first recording",
            )
        self.rig = read_rig(self.folder / BASE)
        self._run = _read_run(self.folder / RUN)
        self._params = params or GuideParams()

    @classmethod
    def begin(cls, folder: Path, base: Rig, rig_id: str, params: GuideParams | None = None) -> Guide:
        """Begin a run, or go on with the one that is there.

        Args:
            folder: of this run.
            base: the rig's drawing.
            rig_id: what the rig is called from now on.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / BASE).is_file():
            replace_file(folder / BASE, rig_bytes(replace(base, rig_id=rig_id)))
        guide = cls(folder, params)
        if guide.rig.rig_id != rig_id:
            raise CalibrationError(
                f"here {guide.rig.rig_id!r} is calibrated, not {rig_id!r}", where=folder, mend="give another --folder"
            )
        return guide

    @property
    def board(self) -> str | None:
        """The board of this run, as an option names it."""
        return self._run.board

    def settle(self, board: str | None = None, gauges_mm: Sequence[float] | None = None) -> None:
        """Keep which board and gauge blocks are used."""
        update: dict[str, Any] = {} if board is None else {"board": board}
        update |= {} if gauges_mm is None else {"gauges_mm": [*gauges_mm]}
        if update:
            self._keep(self._run.model_copy(update=update))

    def progress(self) -> Progress:
        """What is done, what comes next, and how long it took."""
        steps = plan(self.rig, self._params)
        parts = self._parts()
        refused = [part for part in parts.values() if part.verdict == "refused"]
        done: list[Key] = []
        for step in steps:
            there = [parts.get(stem) for stem in step.stems]
            if step.key in self._run.recordings and all(p is not None and p.verdict != "refused" for p in there):
                done.append(step.key)
        recorded_s = sum(recording.seconds for recording in self._run.recordings.values())
        return Progress(steps, tuple(done), recorded_s, sum(step.hands_s for step in steps), tuple(refused))

    def take(
        self,
        step: Step,
        session: Path,
        board: Board | None = None,
        take_id: str | None = None,
        lang: Language = "en",
        on_progress: OnProgress = lambda what, share: None,
    ) -> Made:
        """Use a recording for a step; what it gives replaces what was there.

        Raises:
            SessionError: the recording cannot be read.
            RigError: it is of other devices than the rig.
            CalibrationError: the step cannot even be tried.
        """
        opened = session_store.read(session)
        require_devices(self.rig, opened.meta.device_uids, session)
        ids = opened.takes
        take_id = take_id or (ids[-1] if ids else None)
        if take_id is None:
            raise SessionError("holds no take", where=session, mend="record one first")
        seconds = _length_s(opened, take_id)
        made = self._made(step, session, take_id, board, lang, on_progress)
        recording = _Recording(session=str(Path(session).resolve()), take=take_id, seconds=seconds)
        self._keep(self._run.model_copy(update={"recordings": {**self._run.recordings, step.key: recording}}))
        return made

    def join(
        self,
        earlier: Earlier = (),
        wishes: Wishes | None = None,
        params: JoinParams | None = None,
        lang: Language = "en",
    ) -> RigResult:
        """rig.json of all parts, beside them."""
        out = self.folder / RIG
        return calibrate_rig(
            [self.folder / PARTS],
            out,
            base=self.folder / BASE,
            earlier=earlier,
            wishes=wishes,
            params=params,
            lang=lang,
        )

    def _made(
        self, step: Step, session: Path, take_id: str, board: Board | None, lang: Language, on_progress: OnProgress
    ) -> Made:
        match step.key:
            case "still":
                return Made(())
            case "poses":
                return self._imus(session, take_id, lang)
            case "lens":
                return self._lenses(session, take_id, self._own(board), lang, on_progress)
            case "mount":
                return self._mounts(session, take_id, self._own(board), lang, on_progress)
            case "jaws":
                return self._grippers(session, take_id, lang, on_progress)

    def _imus(self, session: Path, take_id: str, lang: Language) -> Made:
        from handcap.calibrate.imu import calibrate_imu, log_of_take, part_of
        from handcap.calibrate.imu.report import page_of
        from handcap.calibrate.part import write_part

        rest = self._run.recordings.get("still")
        lying = None if rest is None else session_store.read(Path(rest.session))
        moving = session_store.read(session)
        parts: list[Part] = []
        outputs: list[Path] = []
        for device in self.rig.devices:
            still = None if lying is None or rest is None else log_of_take(lying, rest.take, device)
            result = calibrate_imu(still=still, poses=log_of_take(moving, take_id, device))
            parts.append(part_of(result, device))
            outputs += write_part(self.folder / PARTS, parts[-1], page_of(result, device, lang))
        return Made(tuple(parts), tuple(outputs))

    def _lenses(self, session: Path, take_id: str, board: Board, lang: Language, on_progress: OnProgress) -> Made:
        from handcap.calibrate import camera as step

        parts: list[Part] = []
        outputs: list[Path] = []
        for name in self.rig.cameras:
            source = step.open_source([str(session)], name, take_id)
            result = step.calibrate_camera(source, board, on_progress=on_progress)
            parts.append(result.part)
            outputs += step.write_camera(self.folder / PARTS, result, lang)
        return Made(tuple(parts), tuple(outputs))

    def _mounts(self, session: Path, take_id: str, board: Board, lang: Language, on_progress: OnProgress) -> Made:
        from handcap.calibrate import camera_imu as step

        out = self.folder / PARTS
        found = step.run(
            session,
            board,
            take_id=take_id,
            rig_path=self._so_far("imu"),
            lens_paths=[out / f"camera-{name}.json" for name in self.rig.cameras],
            out=out,
            lang=lang,
            on_progress=on_progress,
        )
        return Made(tuple(each.part for each in found), tuple(path for each in found for path in each.outputs))

    def _grippers(self, session: Path, take_id: str, lang: Language, on_progress: OnProgress) -> Made:
        from handcap.calibrate.gripper import calibrate_gripper

        found = calibrate_gripper(
            session,
            [mm / 1000 for mm in self._run.gauges_mm],
            rig_path=self._so_far("imu", "camera", "camera-imu"),
            take_id=take_id,
            out=self.folder / PARTS,
            lang=lang,
            on_progress=on_progress,
        )
        return Made(tuple(each.part for each in found), tuple(path for each in found for path in each.outputs))

    def _own(self, board: Board | None) -> Board:
        if board is None:
            raise CalibrationError("nobody says which board", mend="give --board, as it was printed")
        require_own_markers(board, self.rig, [*self.rig.cameras])
        return board

    def _so_far(self, *steps: str) -> Path:
        """The drawing with what these steps found, as a file for the next."""
        rig = self.rig
        for step in steps:
            for part in self._parts().values():
                if part.step == step and part.verdict != "refused":
                    rig = put(rig, part)
        path = self.folder / "so_far.json"
        replace_file(path, rig_bytes(rig))
        return path

    def _parts(self) -> dict[str, Part]:
        paths = sorted((self.folder / PARTS).glob("*.json"))
        return {part.stem: part for part in map(read_part, paths)}

    def _keep(self, run: _RunFile) -> None:
        replace_file(self.folder / RUN, as_json(run.model_dump()).encode())
        self._run = run


def _read_run(path: Path) -> _RunFile:
    if not path.is_file():
        return _RunFile()
    try:
        return _RunFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError, OSError, RecursionError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise CalibrationError(
            f"cannot be read ({what})", where=path, mend="remove it, and give the recordings again"
        ) from error


def _length_s(session: session_store.Session, take_id: str) -> float:
    """Of a take, by its inertial samples."""
    take = session.take(take_id)
    lengths = [0.0]
    for device in session.rig.devices:
        t_ns = take.imu(device).t_ns
        lengths.append(float(t_ns[-1] - t_ns[0]) / 1e9 if len(t_ns) > 1 else 0.0)
    return round(max(lengths), 3)
