"""Which takes are exported."""

from __future__ import annotations

from pathlib import Path

import exported
import pytest

from handcap import session as session_store
from handcap.errors import FormatError
from handcap.formats.episodes import select


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return exported.write_session(tmp_path / "session")


def _select(path: Path, accept: str = "auto"):
    return select(session_store.read(path), accept)


def test_a_take_proposed_ok_is_exported_whole(session: Path) -> None:
    exported.write_result(session)
    selection = _select(session)
    assert [chosen.take for chosen in selection.takes] == ["0001"]
    assert len(selection.takes[0].bodies["head"]) == 60


def test_of_a_partial_take_only_the_ok_spans_are_exported(session: Path) -> None:
    exported.write_result(session, verdict="partial", spans=[(0.0, 1.0), (2.0, 2.5)])
    chosen = _select(session).takes[0]
    t_s = (chosen.bodies["head"].camera_t_ns - exported.FIRST_NS) / 1e9
    assert len(t_s) == 21 + 11
    assert set(chosen.span_of_row["head"][t_s <= 1.0]) == {0}
    assert set(chosen.span_of_row["head"][t_s >= 2.0]) == {1}


def test_a_take_without_reconstruction_names_the_command_that_makes_one(session: Path) -> None:
    with pytest.raises(FormatError, match="0001: not reconstructed") as raised:
        _select(session)
    assert "handcap reconstruct" in str(raised.value.mend)


@pytest.mark.parametrize("accept", ["auto", "all"])
def test_a_refused_take_is_never_exported_and_its_cause_is_named(session: Path, accept: str) -> None:
    causes = [{"code": "no_motion", "text": "The head hardly moved.", "mend": "Move."}]
    exported.write_result(session, verdict="refused", causes=causes)
    with pytest.raises(FormatError, match="hardly moved"):
        _select(session, accept)


def test_a_take_that_one_person_rejected_is_left_out_although_another_accepted_it(session: Path) -> None:
    exported.write_result(session)
    exported.say(session, "anna", '{"take": "0001", "verdict": "accepted"}')
    exported.say(session, "bo", '{"take": "0001", "verdict": "rejected", "reason": "hand out of view"}')
    for accept in ("auto", "reviewed"):
        with pytest.raises(FormatError, match="rejected by a reviewer"):
            _select(session, accept)
    assert _select(session, "all").takes


def test_the_last_word_of_a_reviewer_counts(session: Path) -> None:
    exported.write_result(session)
    exported.say(session, "anna", '{"take": "0001", "verdict": "rejected"}', '{"take": "0001", "verdict": "accepted"}')
    assert _select(session, "reviewed").takes


def test_reviewed_exports_nothing_that_nobody_looked_at(session: Path) -> None:
    exported.write_result(session)
    with pytest.raises(FormatError, match="accepted by no reviewer") as raised:
        _select(session, "reviewed")
    assert "handcap review" in str(raised.value.mend)


@pytest.mark.parametrize(
    "line", ["{torn", "[]", '"rejected"', '{"take": "0001", "verdict": "rejectd"}', '{"verdict": []}', "[" * 99_999]
)
def test_a_review_line_that_cannot_be_read_stops_the_export(session: Path, line: str) -> None:
    exported.write_result(session)
    exported.say(session, "anna", '{"take": "0002", "verdict": "rejected"}', line)
    with pytest.raises(FormatError, match=r"cannot be read") as raised:
        _select(session)
    assert "line 2" in str(raised.value.where)


def test_a_session_without_takes_says_so(tmp_path: Path) -> None:
    meta = session_store.SessionMeta(
        id="empty", created="2026-01-01T00:00:00Z", origin="import", clock=session_store.SessionClock(kind="import")
    )
    with session_store.create(tmp_path / "empty", meta, exported.rig()):
        pass
    with pytest.raises(FormatError, match="no take"):
        _select(tmp_path / "empty")
