"""What is said of a bare hand: seen well, lost, a guess; and that it changes nothing about the rest of the take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from handcap.causes import Cause
from handcap.reconstruct.hands.verdict import HandJudgement, HandLimits, HandRows, judge
from handcap.reconstruct.judged import with_hands
from handcap.reconstruct.rig_take import Whole

T_NS = np.arange(200, dtype=np.int64) * 50_000_000  # 10 s at 20 Hz
WELL = HandRows(np.full(200, 0.016), np.full(200, 2))
KNOWN = np.ones(200, bool)
REST = Whole("ok", (), ((0.0, 9.95),), {}, {}, {}, {})


def told(rows: HandRows = WELL, known: np.ndarray = KNOWN) -> HandJudgement:
    return judge("left_hand", T_NS, rows, known, HandLimits())


def without(rows: HandRows, a: int, b: int) -> HandRows:
    sigma, views = rows.sigma_m.copy(), rows.views.copy()
    sigma[a:b], views[a:b] = np.nan, 0
    return HandRows(sigma, views)


def alone(a: int, b: int) -> HandRows:
    """One camera sees it from picture a to b."""
    sigma, views = WELL.sigma_m.copy(), WELL.views.copy()
    sigma[a:b], views[a:b] = 0.07, 1
    return HandRows(sigma, views)


def codes(judgement: HandJudgement) -> list[str]:
    assert all(cause.body == "left_hand" for cause in judgement.causes)
    return [cause.code for cause in judgement.causes]


def test_a_hand_seen_all_the_time_is_ok() -> None:
    found = told()
    assert found.verdict == "ok" and codes(found) == [] and found.spans_ok_s == ((0.0, 9.95),)


def test_a_hand_that_leaves_the_view_for_a_moment_is_ok_and_its_spans_say_when() -> None:
    found = told(without(WELL, 100, 130))
    assert found.verdict == "ok" and found.spans_ok_s == ((0.0, 4.95), (6.5, 9.95))


def test_a_hand_away_for_longer_between_two_sightings_is_lost_for_that_span() -> None:
    found = told(without(WELL, 80, 140))
    assert found.verdict == "partial" and codes(found) == ["hand_lost"]
    assert found.causes[0].span_s == pytest.approx((3.95, 7.0)) and found.causes[0].measured == pytest.approx(3.0)


def test_a_hand_that_comes_late_or_goes_early_is_not_lost() -> None:
    assert codes(told(without(without(WELL, 0, 60), 170, 200))) == []


def test_a_hand_hardly_ever_seen_says_so_with_its_share() -> None:
    found = told(without(WELL, 60, 200))
    assert found.verdict == "partial" and codes(found) == ["hand_seldom_seen"]
    assert found.causes[0].measured == pytest.approx(30.0) and found.spans_ok_s == ((0.0, 2.95),)


def test_what_the_head_missed_is_not_held_against_the_hand() -> None:
    known = KNOWN.copy()
    known[60:170] = False
    found = told(without(WELL, 60, 170), known)
    assert found.verdict == "ok" and len(found.spans_ok_s) == 2


def test_a_hand_that_one_camera_sees_for_long_is_a_guess_there() -> None:
    found = told(alone(100, 160))
    assert found.verdict == "partial" and codes(found) == ["hand_one_view"]
    assert found.causes[0].span_s == pytest.approx((5.0, 7.95)) and found.causes[0].measured == pytest.approx(7.0)
    assert found.spans_ok_s == ((0.0, 4.95), (8.0, 9.95))


def test_a_hand_that_one_camera_alone_sees_all_the_time_is_nowhere_good() -> None:
    found = told(alone(0, 200))
    assert found.verdict == "refused" and codes(found) == ["hand_one_view"] and found.spans_ok_s == ()


def test_a_hand_never_seen_is_refused_and_says_why() -> None:
    found = told(HandRows.unseen(200))
    assert found.verdict == "refused" and codes(found) == ["hand_never_seen"]


def test_a_hand_that_only_flickers_is_never_refused_without_a_cause() -> None:
    rows = WELL
    for a in range(0, 200, 8):
        rows = without(rows, a, a + 3)
    found = told(rows)
    assert found.verdict == "refused" and codes(found) == ["hand_seldom_seen"]
    mixed = WELL
    for a in range(0, 200, 8):
        mixed = HandRows(np.where((np.arange(200) - a) % 200 < 5, 0.07, mixed.sigma_m), np.ones(200, np.int64))
    assert codes(told(mixed)) == ["hand_one_view"]


def test_half_a_good_second_among_guesses_is_not_ok() -> None:
    sigma = np.where(np.arange(200) % 30 == 0, 0.02, 0.07)  # no guess lasts for two seconds
    sigma[90:105] = 0.02
    found = told(HandRows(sigma, np.ones(200, np.int64)))
    assert found.spans_ok_s == ((4.5, 5.2),) and found.verdict == "partial" and codes(found) == ["hand_one_view"]


def test_unseen_hands_take_nothing_from_head_and_grippers() -> None:
    unseen = told(HandRows.unseen(200))
    both = with_hands(REST, {}, {"left": unseen, "right": unseen})
    assert both.verdict == "partial" and [c.code for c in both.causes] == ["no_hands_seen"]
    assert both.spans_ok_s == REST.spans_ok_s and set(both.hand_judgements) == {"left_hand", "right_hand"}
    beside_a_gripper = with_hands(REST, {}, {"left": unseen})
    assert beside_a_gripper.verdict == "ok" and beside_a_gripper.causes == ()
    refused = replace(REST, verdict="refused", causes=(Cause("too_short", measured=0.1, limit=1.0),), spans_ok_s=())
    assert with_hands(refused, {}, {"left": unseen, "right": unseen}).causes == refused.causes
