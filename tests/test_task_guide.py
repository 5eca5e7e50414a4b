"""The guide counts good takes, goes through the variations, and everything it says of a take is in the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import exported
import pytest
from carded import CARD, card, ended, write_card
from recording import jpeg, new_session

from handcap import session as session_store
from handcap.capture.operator import Said
from handcap.capture.recorder import Recorder
from handcap.capture.task_guide import TaskGuide
from handcap.capture.task_run import TaskRun
from handcap.capture.task_tally import Tally, read_tally
from handcap.causes import Cause
from handcap.clock import NS_PER_S

BAD = (Cause("too_dark", "head", measured=3.0, limit=12.0),)


class Session:
    """A session recorded by a card: real recorder, real journal."""

    def __init__(self, folder: Path, text: str = CARD, tally: Tally | None = None) -> None:
        self.path = folder / "session"
        self.recorder = Recorder(new_session(self.path, "capture"))
        self.work = TaskRun(card(folder, text), tally)
        self.said: list[Said] = []
        self.guide = TaskGuide(self.work, self._tell)

    def _tell(self, said: Said) -> None:
        self.said.append(said)
        self.guide.hear(said)  # as the operator does

    def start(self) -> str:
        take = self.recorder.start_take(self.work.instruction)
        self.work.began(self.recorder, take, 0)
        self.recorder.put_picture("head", 1_000, jpeg(), "jpeg")
        return take

    def end(self, causes: tuple[Cause, ...] = (), **told) -> str:
        take = self.recorder.end_take()
        said = ended(self.work, take, causes, **told)
        opened = session_store.read(self.path)
        with session_store.write_stage(opened, take, "capture") as folder:
            report = {"verdict": said.ended.verdict.verdict, "causes": [], "spans_ok_s": []}  # type: ignore[union-attr]
            session_store.write_report(folder, report | {"task": self.work.report()})
        self.guide.hear(said)
        return take

    def take(self, causes: tuple[Cause, ...] = (), **told) -> str:
        self.start()
        return self.end(causes, **told)

    def close(self) -> None:
        self.recorder.close()
        self.recorder.session.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.close()


def _variations(path: Path) -> list[str | None]:
    return [use.variation for use in session_store.read(path).cards().values()]


def test_good_takes_are_counted_and_bad_ones_are_not(session: Session) -> None:
    session.take()
    session.take(BAD)
    session.take(jaws_s={})
    assert session.guide.good == 1
    assert "1 of 3 good." in session.said[-1].sentence["en"]
    assert "合格 1 条" in session.said[-1].sentence["zh"]


def test_variations_are_gone_through_in_turn_and_one_that_failed_comes_again(session: Session) -> None:
    for causes in ((), BAD, (), ()):
        session.take(causes)
    assert _variations(session.path) == ["dry", "wet", "wet", "dry"]
    assert session.said[1].sentence["en"].endswith("Put the cloth back. Next: A wet cloth.")


def test_what_was_said_to_be_next_is_what_is_recorded_even_if_the_field_pass_takes_one_back(session: Session) -> None:
    first = session.take()
    assert session.said[-1].sentence["en"].endswith("Next: A wet cloth.")
    session.guide.hear(Said("field", {}, first, verdict="refused"))
    assert session.said[-1].sentence["en"] == "Take 1 does not count after all. 0 of 3 good."
    session.take()
    assert _variations(session.path) == ["dry", "wet"]
    assert session.said[-1].sentence["en"].endswith("Next: A dry cloth.")


@pytest.mark.parametrize("verdict", ["ok", "unjudged"])
def test_a_take_that_the_field_pass_does_not_fault_stays_good(session: Session, verdict: str) -> None:
    session.guide.hear(Said("field", {}, session.take(), verdict=verdict))
    assert session.guide.good == 1


def test_a_take_thrown_away_or_erased_no_longer_counts(session: Session) -> None:
    for kind in ("discarded", "erased"):
        take = session.take()
        session.guide.hear(Said(kind, {}, take))
        assert session.guide.good == 0
        session.guide.hear(Said(kind, {}, take))
        assert session.guide.good == 0


def test_it_says_once_that_the_card_is_done_and_again_when_it_is_done_again(session: Session) -> None:
    takes = [session.take() for _ in range(4)]
    assert [said.sentence["en"] for said in session.said[2:3]] == ["The card is done: 3 good takes. You may finish."]
    assert "card is done" not in session.said[3].sentence["en"]
    for take in takes[:2]:
        session.guide.hear(Said("field", {}, take, verdict="partial"))
    assert not session.guide.done
    session.take()
    assert "The card is done" in session.said[-1].sentence["en"]


def test_before_the_first_take_it_shows_the_whole_card(session: Session) -> None:
    session.guide.hear(Said("ready", {}))
    (said,) = session.said
    assert said.sentence["en"] == "Wipe the table. 0 of 3 good. Next: A dry cloth."
    assert said.more is not None
    assert said.more["zh"] == ["第1步:拿起抹布。", "第2步:擦。", "时长:2 到 30 秒"]


def test_the_line_for_the_screen_follows_the_work(session: Session) -> None:
    assert session.guide.line("en") == "Wipe the table 0/3: Next: A dry cloth."
    session.start()
    assert session.guide.line("en") == "1/2: Take the cloth."
    session.work.next_step(5 * NS_PER_S)
    assert session.guide.line("zh") == "2/2: 擦。"
    session.end()
    assert session.guide.line("en") == "Wipe the table 1/3: Next: A wet cloth."


def test_steps_are_marked_in_the_journal_while_a_take_runs(session: Session) -> None:
    assert session.guide.next_step().sentence["en"].startswith("Steps are marked while")
    session.start()
    assert session.guide.next_step().sentence == {"en": "Wipe.", "zh": "擦。"}
    assert session.guide.next_step().sentence["en"].startswith("That was the last step")
    take = session.end(length_s=20.0)
    use = session_store.read(session.path).cards()[take]
    assert [(mark.step, mark.last) for mark in use.marks] == [("take", False), ("wipe", True)]
    assert use.marks[0].t_ns == 0 < use.marks[1].t_ns
    assert (use.card, use.sha256, use.text) == ("wipe", session.work.card.sha256, CARD)


def test_a_take_that_broke_off_is_not_taken_for_one_that_runs(session: Session) -> None:
    session.start()
    session.recorder.end_take()  # nobody says "ended" when a disk failed
    assert session.guide.next_step().sentence["en"].startswith("Steps are marked while")
    assert session.guide.line("en").startswith("Wipe the table 0/3")


def test_the_instruction_of_a_variation_is_the_takes_task(session: Session) -> None:
    for _ in range(2):
        session.take()
    tasks = [record.task for record in session_store.read(session.path).journal().values()]
    assert tasks == ["Wipe the table", "wipe with a wet cloth"]


def test_a_card_of_one_step_labels_the_whole_take_without_a_key(tmp_path: Path) -> None:
    text = CARD[: CARD.index('[[steps]]\nid = "wipe"')]
    session = Session(tmp_path, text)
    take = session.take()
    (mark,) = session_store.read(session.path).cards()[take].marks
    assert (mark.step, mark.t_ns, mark.last) == ("take", 0, True)
    assert session.work.planned is None
    session.close()


def test_the_step_that_was_missed_is_named(session: Session) -> None:
    session.take(jaws_s={"left": (1.0, 2.0)})
    assert session.said[-1].sentence["en"].startswith("It is step 2: Wipe. 0 of 3 good.")
    assert session.said[-1].sentence["zh"].startswith("问题在第2步:擦。")


def test_a_session_that_goes_on_counts_from_where_it_was(session: Session, tmp_path: Path) -> None:
    takes = [session.take(), session.take(BAD), session.take(), session.take()]
    session.recorder.discard_take(takes[2], "no")
    session.close()
    changed = card(tmp_path, CARD.replace("good_takes = 3", "good_takes = 9"))
    tally = read_tally(session.path, changed)
    assert tally.good == {takes[0], takes[3]}
    assert tally.next_variation(changed).id == "wet"  # type: ignore[union-attr]
    with session_store.write_stage(session_store.read(session.path), takes[0], "field") as folder:
        session_store.write_report(folder, {"verdict": "partial", "causes": [], "spans_ok_s": []})
    assert read_tally(session.path, changed).good == {takes[3]}
    with session_store.write_stage(session_store.read(session.path), takes[0], "reconstruct") as folder:
        session_store.write_report(folder, {"verdict": "ok", "causes": [], "spans_ok_s": []})
    assert read_tally(session.path, changed).good == {takes[0], takes[3]}


def test_no_session_yet_is_an_empty_tally(tmp_path: Path) -> None:
    assert read_tally(tmp_path / "none", card(tmp_path)).variation == {}


def test_a_journal_of_an_older_handcap_has_no_cards(tmp_path: Path) -> None:
    path = exported.write_session(tmp_path / "session")
    db = sqlite3.connect(path / "journal.sqlite")
    for table in ("cards", "card_uses", "steps"):
        db.execute(f"DROP TABLE {table}")
    db.commit()
    db.close()
    assert session_store.read(path).cards() == {}


def test_hints_of_idle_jaws_are_the_cards_own_word(session: Session) -> None:
    hint = Cause("jaw_not_moved", "left_tcp")
    session.start()
    session.recorder.end_take()
    said = ended(session.work, "0001", (hint,))
    assert said.ended is not None and said.ended.verdict.causes == []


def test_the_report_tells_what_each_step_showed(session: Session) -> None:
    session.start()
    session.work.next_step(5 * NS_PER_S)
    take = session.end()
    told = session_store.read_report(session.path / "derived" / take / "capture")["task"]
    assert told["variation"] == "dry" and told["instruction"] == "Wipe the table"
    assert [step["span_s"] for step in told["steps"]] == [[0.0, 5.0], [5.0, 10.0]]
    assert [step["shown"]["jaw_counts"] for step in told["steps"]] == [
        {"left": 400, "right": 0},
        {"left": 0, "right": 400},
    ]


def test_a_card_can_be_changed_while_its_takes_stay_what_they_were(session: Session, tmp_path: Path) -> None:
    take = session.take()
    write_card(tmp_path, CARD.replace("Wipe.", "Scrub."))
    assert session_store.read(session.path).cards()[take].text == CARD
