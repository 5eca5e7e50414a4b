"""Which pieces of which takes get exported: the `--accept` rule, the same for every format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from handcap.clock import seconds
from handcap.errors import FormatError
from handcap.formats.task_labels import task_label
from handcap.formats.verdicts import Decision, read_decisions
from handcap.session import Session, read_report, read_trajectory
from handcap.types import Trajectory

Accept = Literal["auto", "reviewed", "all"]
ACCEPT: tuple[Accept, ...] = get_args(Accept)
BODIES = ("head", "left_tcp", "right_tcp", "left_hand", "right_hand")
_STAGE = "reconstruct"
_SPAN_TOLERANCE_S = 1e-6  # spans are stamps that went through a decimal number


@dataclass(frozen=True, eq=False, slots=True)
class AcceptedTake:
    """A take of which something is exported.

    Attributes:
        take: its id.
        spans_s: (start, end) of the pieces, seconds from the take's first picture.
        bodies: body to its trajectory, tracked rows of the spans only.
        span_of_row: body to (n,) index of the span that each row belongs to.
        report: of the reconstruction.
        inputs_sha256: file read, relative to the session, to its hash.
    """

    take: str
    spans_s: tuple[tuple[float, float], ...]
    bodies: Mapping[str, Trajectory]
    span_of_row: Mapping[str, NDArray[np.int64]]
    report: Mapping[str, Any]
    inputs_sha256: Mapping[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class Selection:
    """What an export holds, and what it leaves out.

    Attributes:
        accept: the rule.
        takes: those that qualify.
        left_out: take id to the reason.
    """

    accept: Accept
    takes: tuple[AcceptedTake, ...]
    left_out: Mapping[str, str]


def select(session: Session, accept: Accept = "auto") -> Selection:
    """Apply the rule to every take of a session.

    Raises:
        FormatError: nothing qualifies; names the first take, why, and the command that would change it.
        SessionError: an output of the reconstruction cannot be read.
    """
    assert accept in ACCEPT, accept
    left_out: dict[str, str] = {take: f"erased ({why})" for take, why in session.erased.items()}
    if not session.takes:
        if left_out:
            what = "nothing to export: " + "; ".join(f"take {take}: {why}" for take, why in left_out.items())
            raise FormatError(what, where=session.path, mend="record it again: nothing brings an erased take back")
        raise FormatError("the session holds no take", where=session.path, mend="record or import one first")
    decisions = read_decisions(session.path)
    chosen: list[AcceptedTake] = []
    mends: list[str] = []
    for take in session.takes:
        refusal = _refusal(session, take, accept, decisions.get(take))
        if refusal is None:
            chosen.append(_accepted(session, take, accept))
        else:
            left_out[take] = refusal[0]
            mends.append(refusal[1])
    if not chosen:
        reasons = "; ".join(f"take {take}: {why}" for take, why in list(left_out.items())[:3])
        more = f" (and {len(left_out) - 3} more takes)" if len(left_out) > 3 else ""
        raise FormatError(f"nothing to export: {reasons}{more}", where=session.path, mend=mends[0])
    return Selection(accept, tuple(chosen), left_out)


def _refusal(session: Session, take: str, accept: Accept, decision: Decision | None) -> tuple[str, str] | None:
    """Why a take does not qualify and what would change that; None when it does."""
    record = session.journal().get(take)
    if record is not None and record.state == "discarded":
        return f"thrown away ({record.reason})", "record it again: what the collector threw away is never exported"
    folder = session.derived(take, _STAGE)
    if not (folder / "report.json").exists():
        return "not reconstructed yet", f"run `handcap reconstruct {session.path}`"
    report = read_report(folder)
    if report.get("verdict") == "refused" or not _written(folder):
        causes = report.get("causes") or [{}]
        why = causes[0].get("text") or "the reconstruction refused it"
        mend = causes[0].get("mend") or "record it again"
        return f"refused by reconstruct: {why}", f"{mend} Then run `handcap reconstruct {session.path}` again"
    if accept == "auto" and decision == "rejected":
        return "rejected by a reviewer", "give --accept all to export it nevertheless, marked as not accepted"
    if accept == "reviewed" and decision != "accepted":
        said = "rejected by a reviewer" if decision == "rejected" else "accepted by no reviewer"
        return said, f"look at it with `handcap review {session.path}`, or give --accept auto"
    return None


def _written(folder: Path) -> list[str]:
    """Bodies with a trajectory; the first one's pictures begin the spans."""
    return [body for body in BODIES if (folder / f"{body}.parquet").exists()]


def _accepted(session: Session, take: str, accept: Accept) -> AcceptedTake:
    folder = session.derived(take, _STAGE)
    report = read_report(folder)
    first = read_trajectory(folder / f"{_written(folder)[0]}.parquet")
    origin_ns = int(first.camera_t_ns[0])
    length_s = float(seconds(first.camera_t_ns[-1], origin_ns))
    spans = [(float(a), float(b)) for a, b in report.get("spans_ok_s") or []]
    if accept == "all" or not spans:
        spans = [(0.0, length_s)]
    bodies: dict[str, Trajectory] = {}
    span_of_row: dict[str, NDArray[np.int64]] = {}
    for body in _written(folder):
        whole = read_trajectory(folder / f"{body}.parquet")
        span = _span_of_row(whole, spans, origin_ns)
        keep = whole.tracked & (span >= 0)
        bodies[body], span_of_row[body] = whole.where(keep), span[keep]
    names = ["report.json", *(f"{body}.parquet" for body in bodies)]
    hashes = {(folder / name).relative_to(session.path).as_posix(): _sha256(folder / name) for name in names}
    return AcceptedTake(take, tuple(spans), bodies, span_of_row, report, hashes)


def _span_of_row(trajectory: Trajectory, spans: list[tuple[float, float]], origin_ns: int) -> NDArray[np.int64]:
    """(n,) index of the span a row lies in, -1 outside all."""
    t_s = seconds(trajectory.camera_t_ns, origin_ns)
    out = np.full(len(trajectory), -1, np.int64)
    for k, (start, end) in enumerate(spans):
        out[(t_s >= start - _SPAN_TOLERANCE_S) & (t_s <= end + _SPAN_TOLERANCE_S)] = k
    return out


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(session: Session, selection: Selection, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What every export says about where it came from; no dates, no paths of this computer."""
    import handcap

    return {
        "made_by": {"handcap": handcap.__version__},
        "session": session.meta.id,
        "origin": session.meta.origin,
        "consent": session.meta.consent_id or "none",
        "rig": session.rig.rig_id,
        "accept": selection.accept,
        "parameters": dict(parameters),
        "takes": {
            chosen.take: {
                "verdict": chosen.report.get("verdict"),
                "task": task_label(session, chosen.take),
                "spans_s": [list(span) for span in chosen.spans_s],
                "inputs_sha256": dict(chosen.inputs_sha256),
            }
            for chosen in selection.takes
        },
        "left_out": dict(selection.left_out),
    }
