"""TUM trajectories: one pose a line, `t x y z qx qy qz qw`, seconds and metres, quaternion w last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handcap.clock import NS_PER_S
from handcap.errors import FormatError
from handcap.formats.episodes import Accept, provenance, select
from handcap.formats.output import write_json
from handcap.geometry import matrix_from_quat_wxyz, quat_wxyz_from_matrix, se3
from handcap.session import Session, new_folder
from handcap.types import Trajectory

_COLUMNS = ("t", "x", "y", "z", "qx", "qy", "qz", "qw")


@dataclass(frozen=True, slots=True)
class TumExport:
    """Files written, and why takes were left out."""

    files: tuple[Path, ...]
    takes: dict[str, str]
    left_out: dict[str, str]


def export_tum(
    session: Session,
    out: Path,
    accept: Accept = "auto",
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> TumExport:
    """Write `<take>_<body>.txt` for every accepted take, tracked rows only, and handcap.json beside them."""
    selection = select(session, accept)
    names: list[str] = []
    with new_folder(out) as folder:
        for k, chosen in enumerate(selection.takes):
            on_progress("Exporting", k / len(selection.takes))
            for body, trajectory in chosen.bodies.items():
                names.append(f"{chosen.take}_{body}.txt")
                write_tum(folder / names[-1], trajectory)
        write_json(folder / "handcap.json", provenance(session, selection, {"format": "tum"}))
    verdicts = {chosen.take: str(chosen.report["verdict"]) for chosen in selection.takes}
    return TumExport(tuple(out / name for name in names), verdicts, dict(selection.left_out))


def write_tum(path: Path, trajectory: Trajectory) -> None:
    """Tracked rows of a trajectory; stamps with nine decimals, exact to the nanosecond."""
    rows = trajectory.tracked_only()
    quat_wxyz = quat_wxyz_from_matrix(rows.T_world_body[:, :3, :3])
    values = np.concatenate([rows.T_world_body[:, :3, 3], quat_wxyz[:, 1:], quat_wxyz[:, :1]], axis=1)
    with open(path, "w", encoding="ascii", newline="\n") as out:
        for t_ns, row in zip(rows.t_ns.tolist(), values.tolist(), strict=True):
            out.write(f"{_decimal_seconds(t_ns)} {' '.join(f'{v:.9f}' for v in row)}\n")


def _decimal_seconds(t_ns: int) -> str:
    whole, rest = divmod(abs(t_ns), NS_PER_S)
    return f"{'-' if t_ns < 0 else ''}{whole}.{rest:09d}"


def read_tum(path: Path, body: str = "head") -> Trajectory:
    """A trajectory from a TUM file; covariance unknown, every row tracked.

    Comment lines (#) and empty ones are skipped.

    Raises:
        FormatError: names the file and the row that is wrong, and why.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})", where=path, mend="check the path") from error
    except UnicodeDecodeError as error:
        raise FormatError("not a text file", where=path, mend="give a file in TUM format") from error
    stamps: list[int] = []
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        stamp, pose = _parse(text, f"{path}, row {number}")
        if stamps and stamp <= stamps[-1]:
            raise FormatError(
                "its time does not come after the row before",
                where=f"{path}, row {number}",
                mend="sort the rows by time and remove repeated ones",
            )
        stamps.append(stamp)
        rows.append(pose)
    if not rows:
        raise FormatError("holds no pose", where=path, mend=f"give rows of {' '.join(_COLUMNS)}")
    values = np.array(rows)
    quat_wxyz = np.concatenate([values[:, 6:7], values[:, 3:6]], axis=1)
    t_ns: NDArray[np.int64] = np.array(stamps, np.int64)
    n = len(t_ns)
    T_world_body = se3(matrix_from_quat_wxyz(quat_wxyz), values[:, :3])
    return Trajectory(body, t_ns, t_ns, T_world_body, np.full((n, 6, 6), np.nan), np.ones(n, bool))


def _parse(text: str, where: str) -> tuple[int, list[float]]:
    """(stamp, x y z qx qy qz qw) of one row."""
    mend = f"a row is {' '.join(_COLUMNS)}: seconds, metres, a unit quaternion with w last"
    fields = text.replace(",", " ").split()
    if len(fields) != len(_COLUMNS):
        raise FormatError(f"{len(fields)} columns instead of {len(_COLUMNS)}", where=where, mend=mend)
    try:
        # Decimal: as a float, a stamp since 1970 would lose all below 200 ns.
        t_ns = int((Decimal(fields[0]) * NS_PER_S).to_integral_value())
        values = [float(field) for field in fields[1:]]
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise FormatError("not all columns are numbers", where=where, mend=mend) from error
    if abs(t_ns) >= 1 << 62:
        raise FormatError(f"{fields[0]} is no time in seconds", where=where, mend="give seconds, not nanoseconds")
    if not np.all(np.isfinite(values)):
        raise FormatError("holds a value that is not finite", where=where, mend="leave out rows without a pose")
    length = float(np.linalg.norm(values[3:]))
    if not 0.9 < length < 1.1:
        raise FormatError(f"its quaternion has length {length:.3g} instead of 1", where=where, mend=mend)
    return t_ns, values
