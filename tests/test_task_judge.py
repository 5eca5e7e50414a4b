"""What a card's steps must show is looked for where the collector marked them, else in the whole take."""

from __future__ import annotations

from pathlib import Path

import pytest
from carded import CARD, card, watched

from handcap.capture.task_judge import judge_work, sentence, shown_in
from handcap.clock import NS_PER_S
from handcap.session import StepMark

MARKS = [StepMark("take", "Take the cloth.", 0, False), StepMark("wipe", "Wipe.", 5 * NS_PER_S, True)]


def _told(tmp_path: Path, marks=(), text: str = CARD, **take) -> list[tuple[int | None, str, str | None]]:
    """(step, code, body) of everything that is missing."""
    judged = judge_work(card(tmp_path, text), watched(**take), marks)
    return [(part.step, cause.code, cause.body) for part in judged for cause in part.causes]


@pytest.mark.parametrize("marks", [(), MARKS])
def test_a_take_that_shows_all_steps_misses_nothing(tmp_path: Path, marks) -> None:
    assert _told(tmp_path, marks) == []


@pytest.mark.parametrize("marks", [(), MARKS])
def test_a_jaw_that_never_moved_is_missed_in_its_own_step(tmp_path: Path, marks) -> None:
    assert _told(tmp_path, marks, jaws_s={"left": (1.0, 2.0)}) == [(1, "step_jaw_not_moved", "right_tcp")]


def test_a_jaw_that_moved_in_another_step_is_missed_only_where_steps_are_marked(tmp_path: Path) -> None:
    early = {"left": (1.0, 2.0), "right": (2.0, 3.0)}
    assert _told(tmp_path, (), jaws_s=early) == []
    assert _told(tmp_path, MARKS, jaws_s=early) == [(1, "step_jaw_not_moved", "right_tcp")]


def test_tags_count_while_their_step_is_done(tmp_path: Path) -> None:
    assert _told(tmp_path, MARKS, tags_s=(0.0, 5.0)) == [(1, "step_tags_unseen", "right_tcp")]
    assert _told(tmp_path, (), tags_s=(0.0, 5.0)) == []


def test_what_nobody_measured_is_not_missed(tmp_path: Path) -> None:
    take = watched(jaws_s={})
    take.devices.clear()
    take.cameras.clear()
    judged = judge_work(card(tmp_path), take, MARKS)
    assert not any(part.causes for part in judged)
    assert shown_in(take, (0.0, 10.0)).as_dict() == {
        "jaw_counts": {"left": None, "right": None},
        "tags": {"left": None, "right": None},
        "hands": [None, None],
    }


def test_a_take_or_a_marked_step_of_the_wrong_length_is_told(tmp_path: Path) -> None:
    assert (None, "take_too_long", None) in _told(tmp_path, length_s=31.0)
    assert (None, "too_short", None) in _told(tmp_path, length_s=1.0)
    late = [MARKS[0], StepMark("wipe", "Wipe.", 9 * NS_PER_S, True)]
    assert (1, "step_too_short", None) in _told(tmp_path, late, jaws_s={"left": (1, 2), "right": (9.0, 9.5)})
    assert not any("step_too" in code for _, code, _ in _told(tmp_path, ()))


def test_a_step_whose_end_nobody_marked_is_looked_for_in_the_whole_take(tmp_path: Path) -> None:
    unfinished = [StepMark("take", "Take the cloth.", 0, False)]
    assert judge_work(card(tmp_path), watched(), unfinished)[1].span_s is None


def test_two_unmarked_steps_that_miss_the_same_say_it_once(tmp_path: Path) -> None:
    same = CARD.replace('["left"]', '["right"]')
    assert _told(tmp_path, (), same, jaws_s={}) == [(0, "step_jaw_not_moved", "right_tcp")]


def test_the_sentence_names_the_step_in_both_languages(tmp_path: Path) -> None:
    wipe = card(tmp_path)
    missed = next(part for part in judge_work(wipe, watched(jaws_s={"left": (1, 2)}), MARKS) if part.causes)
    assert sentence(wipe, missed, "en").startswith("Step 2, Wipe: As far as its encoder tells, the right gripper")
    assert sentence(wipe, missed, "zh").startswith("第2步“擦”:编码器显示右夹爪")
