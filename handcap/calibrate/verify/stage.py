"""`calibrate verify`: ten seconds of a rig, and whether its calibration still holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session as sessions
from handcap.boards import Board, BoardViews
from handcap.calibrate.gripper.record import read_jaws
from handcap.calibrate.part import Part, write_part
from handcap.calibrate.verify.checks import (
    Check,
    CheckParams,
    CheckRecord,
    Kind,
    State,
    body_of,
    check_rig,
    overall,
)
from handcap.calibrate.verify.page import page_of
from handcap.causes import Cause, Language, Verdict
from handcap.errors import CalibrationError
from handcap.measure.boards import SeenCorners, find_board
from handcap.measure.timed_pictures import TimedPictures
from handcap.session import Take
from handcap.types import SIDES, Rig

OnProgress = Callable[[str, float], None]
VERDICTS: dict[State, Verdict] = {
    "in force": "ok",
    "drifting": "partial",
    "recalibrate": "refused",
    "not checked": "partial",
}
SUBJECT = "rig"
# What a cause shows of a parameter: how much it is off, in a unit a technician knows.
_SHOWN: dict[Kind, float] = {
    "focal": 100.0,
    "centre": 1.0,
    "mount": float(np.rad2deg(1.0)),
    "offset": 1e3,
    "place": 1e3,
    "gyro_bias": float(np.rad2deg(1.0)),
    "gyro_noise": 1.0,
    "accel_noise": 1.0,
    "gravity": 1.0,
    "jaw_tags": 1e3,
    "jaw_encoder": 1e3,
    "tag_size": 100.0,
}


@dataclass(frozen=True, eq=False, slots=True)
class VerifyResult:
    """What a check found, and where it was written."""

    part: Part
    checks: tuple[Check, ...]
    state: State
    outputs: tuple[Path, Path]


def verify(
    path: Path,
    board: Board,
    *,
    gauge_m: float = 0.0,
    rig_path: Path | None = None,
    take_id: str | None = None,
    out: Path | None = None,
    params: CheckParams | None = None,
    lang: Language = "en",
    on_progress: OnProgress = lambda what, share: None,
) -> VerifyResult:
    """Check a rig by a take in which it lies still, looks at a board and closes its jaws.

    Args:
        path: session folder.
        board: that was looked at.
        gauge_m: what the jaws closed on; 0 for nothing.
        rig_path: the calibration in question, instead of the session's own rig.json.
        take_id: by default the last one.
        out: folder for the part; by default derived/<take>/calibrate.

    Raises:
        CalibrationError: pictures of another size than the lens, or a width that is none.
    """
    params = params or CheckParams()
    if not (np.isfinite(gauge_m) and 0 <= gauge_m < 1):
        raise CalibrationError(f"no width of a gauge: {1e3 * gauge_m:g} mm", mend="give millimetres, as --gauge 20")
    session = sessions.read(path, rig_path)
    take = session.take(take_id or (session.takes or ("0001",))[-1])
    record = read_check(take, session.rig, board, on_progress)
    on_progress("Checking", 1.0)
    checks = tuple(check_rig(session.rig, record, board, gauge_m, params))
    state = overall(checks)
    with open(rig_path or session.path / "rig.json", "rb") as file:
        rig_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    part = Part(
        "verify",
        SUBJECT,
        VERDICTS[state],
        causes_of(checks, params),
        values={f"{check.kind}-{check.subject}": check.measured for check in checks},
        sigma={f"{check.kind}-{check.subject}": check.sigma for check in checks},
        details={
            "state": state,
            "rig_id": session.rig.rig_id,
            "checks": [asdict(check) | {"sigmas": check.sigmas} for check in checks],
        },
        created=session.meta.created,
        params={**asdict(params), "board": _told(board), "gauge_m": gauge_m, "take": take.id},
        inputs={**take.raw_sha256(), "rig.json": rig_sha256},
    )
    folder = session.derived(take.id, "calibrate") if out is None else out
    return VerifyResult(part, checks, state, write_part(folder, part, page_of(part, checks, state, lang)))


def _told(board: Board) -> dict[str, Any]:
    return {"kind": board.kind, **asdict(board)}


def read_check(take: Take, rig: Rig, board: Board, on_progress: OnProgress = lambda what, share: None) -> CheckRecord:
    """Everything of a take that a check needs; what is missing is absent."""
    views = {name: look(take, rig, name, board, on_progress) for name in rig.cameras if name in take.cameras}
    imu = {name: take.imu(name) for name in rig.devices if name in take.devices}
    jaws = {side: read_jaws(take, rig, side, on_progress) for side in SIDES if side in rig.grippers}
    return CheckRecord(views, {name: samples for name, samples in imu.items() if len(samples) > 1}, jaws)


def look(take: Take, rig: Rig, camera: str, board: Board, on_progress: OnProgress) -> BoardViews:
    """The board in every picture of a camera.

    Raises:
        CalibrationError: the pictures are of another size than the lens.
    """
    lens = rig.cameras[camera].camera
    timed = TimedPictures(take, camera)
    total = max(len(timed.stamps), 1)
    t_ns: list[int] = []
    seen: list[SeenCorners] = []
    for frame in timed.frames():
        if frame.image.shape[:2] != (lens.height, lens.width):
            height, width = frame.image.shape[:2]
            raise CalibrationError(
                f"pictures of {width}×{height}, and the lens was calibrated for {lens.width}×{lens.height}",
                where=f"camera {camera}",
                mend="record at the size of the calibration, or calibrate the lens at this size",
            )
        t_ns.append(frame.t_ns)
        seen.append(find_board(frame.image, board))
        on_progress(f"Looking for the board ({camera})", len(t_ns) / total)
    return BoardViews(
        np.array(t_ns, np.int64),
        np.repeat(np.arange(len(seen)), [len(each) for each in seen]),
        np.concatenate([np.zeros(0, np.int64), *(each.ids for each in seen)]),
        np.concatenate([np.zeros((0, 2)), *(each.px for each in seen)]),
    )


def causes_of(checks: Sequence[Check], params: CheckParams) -> list[Cause]:
    """One for every parameter that is off, worst first; then one for what could not be checked."""
    off = [check for check in checks if check.state in ("drifting", "recalibrate")]
    off.sort(key=lambda check: (check.state != "recalibrate", -check.sigmas))
    causes = [_cause(check, params) for check in off]
    unchecked = {(check.kind, check.subject) for check in checks if check.state == "not checked"}
    blind = {subject for kind, subject in unchecked if kind == "focal"}
    for kind, subject in sorted(unchecked):
        if kind == "focal":
            causes.append(Cause("check_unseen", subject))
        elif kind == "mount" and subject not in blind and ("gyro_bias", subject) not in unchecked:
            causes.append(Cause("check_no_turn", subject))
        elif kind == "gyro_bias":
            causes.append(Cause("check_not_still", body_of(kind, subject)))
        elif kind in ("jaw_tags", "jaw_encoder"):
            causes.append(Cause("check_jaws_open", body_of(kind, subject)))
    return list(dict.fromkeys(causes))


def _cause(check: Check, params: CheckParams) -> Cause:
    scale = _SHOWN[check.kind]
    off, limit = check.measured - check.told, params.drift_sigmas * check.sigma
    if check.kind in ("gyro_noise", "accel_noise"):  # told as "so many times"
        off, limit = check.measured, 1 + limit
    return Cause(f"check_{check.kind}", body_of(check.kind, check.subject), measured=scale * off, limit=scale * limit)
