"""Consent: an id that says nothing about anybody, kept in the session and marked in every export."""

from __future__ import annotations

import json
from pathlib import Path

import exported
import pyarrow.parquet as pq
import pytest

from handcap import session as session_store
from handcap.capture.consent import require_consent
from handcap.errors import UsageError
from handcap.formats.lerobot import export_lerobot
from handcap.formats.rrd import export_rrd
from handcap.formats.tum import export_tum
from handcap.session import StepMark
from handcap.session.journal import Journal

EXPORTS = {"tum": export_tum, "lerobot": export_lerobot, "rrd": export_rrd}
CARD_TEXT = 'id = "wipe"\n'


@pytest.mark.parametrize("consent", ["C-2026-0042", "a17", "site3.form_9"])
def test_an_id_of_a_form_is_kept_as_it_is(consent: str) -> None:
    assert require_consent(consent, no_consent=False, virtual=False) == consent


@pytest.mark.parametrize(
    "consent",
    ["zhangwei", "13800138000", "c13800138000", "11010519491231002X", "anna.li@example.org", "李雷1", "Anna Li 3"]
    + ["none", "None", "", "a1", "a" * 40 + "1", "../a1", "a--1", "a1\n", "-a1b"],
)
def test_what_may_tell_who_somebody_is_or_is_no_id_is_refused(consent: str) -> None:
    with pytest.raises(UsageError) as raised:
        require_consent(consent, no_consent=False, virtual=False)
    assert raised.value.mend


def test_somebody_has_to_say_whether_there_is_consent() -> None:
    with pytest.raises(UsageError, match="nobody's consent"):
        require_consent(None, no_consent=False, virtual=False)
    with pytest.raises(UsageError, match="contradict"):
        require_consent("C-1a", no_consent=True, virtual=False)
    assert require_consent(None, no_consent=True, virtual=False) == "none"
    assert require_consent(None, no_consent=False, virtual=True) == "none"


def _session(path: Path, consent: str | None, marked: bool = False) -> session_store.Session:
    exported.write_session(path, task="wipe", takes=("wipe", "wipe"))
    for take in ("0001", "0002"):
        exported.write_result(path, take=take)
    told = json.loads((path / "session.json").read_text())
    (path / "session.json").write_text(json.dumps(told | {"consent_id": consent}))
    if marked:
        journal = Journal(path)
        journal.card_used("0001", "wipe", "ab" * 32, CARD_TEXT, "wet")
        for k, (step, last) in enumerate((("take", False), ("scrub", True))):
            t_ns = exported.FIRST_NS + exported.OFFSET_NS + (10 + 20 * k) * exported.PERIOD_NS
            journal.step_began("0001", StepMark(step, f"{step.title()} it.", t_ns, last))
        journal.close()
    return session_store.read(path)


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize(("consent", "told"), [("C-17", "C-17"), ("none", "none"), (None, "none")])
def test_every_export_says_whose_consent_there_is(tmp_path: Path, name: str, consent, told) -> None:
    EXPORTS[name](_session(tmp_path / "session", consent), tmp_path / "out")
    assert json.loads((tmp_path / "out/handcap.json").read_text())["consent"] == told
    if name == "lerobot":
        card = (tmp_path / "out/README.md").read_text()
        assert ("No consent on record" in card) == (told == "none")


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_says_the_card_the_variation_and_the_steps(tmp_path: Path, name: str) -> None:
    EXPORTS[name](_session(tmp_path / "session", "C-17", marked=True), tmp_path / "out")
    takes = json.loads((tmp_path / "out/handcap.json").read_text())["takes"]
    task = takes["0001"]["task"]
    assert (task["card"], task["card_sha256"], task["variation"]) == ("wipe", "ab" * 32, "wet")
    assert [step["step"] for step in task["steps"]] == ["take", "scrub"]
    assert task["steps"][0]["end_t_ns"] == task["steps"][1]["start_t_ns"]
    last_ns = session_store.read(tmp_path / "session").journal()["0001"].last_ns
    assert task["steps"][1]["end_t_ns"] == last_ns
    assert takes["0002"]["task"] == {
        "instruction": "wipe", "card": None, "card_sha256": None, "variation": None, "steps": [],
    }  # fmt: skip


def test_each_frame_of_a_lerobot_set_carries_the_step_that_was_being_done(tmp_path: Path) -> None:
    export_lerobot(_session(tmp_path / "session", "C-17", marked=True), tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").to_pydict()
    table = pq.read_table(tmp_path / "out/meta/subtasks.parquet")
    texts = table.to_pydict()
    assert texts["subtask_index"] == list(range(len(texts["subtask"])))
    assert b'"index_columns": ["subtask"]' in table.schema.metadata[b"pandas"]
    step = [texts["subtask"][k] for k in rows["subtask_index"]]
    assert step[:60] == ["unlabelled"] * 10 + ["Take it."] * 20 + ["Scrub it."] * 30
    assert step[60:] == ["unlabelled"] * 60
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"]["subtask_index"] == {"dtype": "int64", "shape": [1], "names": None}
    assert "subtask_index" in (tmp_path / "out/README.md").read_text()


def test_without_marks_there_are_no_subtasks(tmp_path: Path) -> None:
    export_lerobot(_session(tmp_path / "session", "C-17"), tmp_path / "out")
    assert not (tmp_path / "out/meta/subtasks.parquet").exists()
    assert "subtask_index" not in pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").column_names
    assert "subtask_index" not in (tmp_path / "out/README.md").read_text()
