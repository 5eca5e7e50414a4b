"""What a verdict says after more is known: pictures placed by what others saw, nothing good behind a slip."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from handcap.causes import Cause
from handcap.reconstruct.limits import VerdictParams
from handcap.reconstruct.verdict import Judgement

T_S = np.round(np.arange(100) * 0.1, 9)
PARAMS = VerdictParams()
LOST = Cause("tracking_lost", "left_tcp", (4.0, 5.9), 1.9, 0.5)


def judged(*causes: Cause) -> Judgement:
    tracked = (T_S < 4.0) | (T_S > 5.95)
    return Judgement("partial", causes, ((0.0, 3.9), (6.0, 9.9)), tracked)


def rows(start_s: float, end_s: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(T_S - (start_s + end_s) / 2) < (end_s - start_s) / 2 + 1e-6, bool)


def test_a_loss_that_others_make_good_is_no_loss() -> None:
    found = judged(LOST).regained(rows(4.0, 5.9), T_S, PARAMS)
    assert found.verdict == "ok" and found.causes == () and found.tracked.all()
    assert found.spans_ok_s == ((0.0, pytest.approx(9.9)),)


def test_a_span_ends_where_pictures_are_missing() -> None:
    late = np.where(T_S > 7.95, T_S + 1.0, T_S)  # nothing came for a second
    gap = Cause("frames_missing", "left", (7.9, 9.0), 1.1)
    before = Judgement("partial", (gap, LOST), ((0.0, 3.9), (6.0, 7.9), (9.0, 10.9)), judged().tracked)
    found = before.regained(rows(4.0, 5.9), late, PARAMS)
    assert found.spans_ok_s == (pytest.approx((0.0, 7.9)), pytest.approx((9.0, 10.9))) and found.causes == (gap,)


def test_what_is_still_lost_is_said_and_no_more() -> None:
    found = judged(LOST).regained(rows(4.0, 4.9), T_S, PARAMS)
    (cause,) = found.causes
    assert found.verdict == "partial" and cause.code == "tracking_lost"
    assert cause.span_s == pytest.approx((5.0, 5.9)) and cause.measured == pytest.approx(0.9)
    assert found.spans_ok_s == (pytest.approx((0.0, 4.9)), pytest.approx((6.0, 9.9)))


def test_a_covered_lens_is_told_though_the_gripper_is_placed() -> None:
    covered = Cause("camera_covered", "left", (4.0, 5.9), 3.0, 15.0)
    found = judged(covered, LOST).regained(rows(4.0, 5.9), T_S, PARAMS)
    assert found.verdict == "partial" and found.tracked.all()
    assert found.causes[0] == covered and found.spans_ok_s == judged().spans_ok_s


def test_nothing_is_good_from_where_a_camera_slips() -> None:
    assert judged(LOST).until(3.0, PARAMS).spans_ok_s == ((0.0, 3.0),)
    assert judged(LOST).until(7.5, PARAMS).spans_ok_s == ((0.0, 3.9), (6.0, 7.5))
    early = judged(LOST).until(0.7, PARAMS)
    assert early.verdict == "refused" and early.spans_ok_s == () and not early.tracked.any()
    slipped = judged(LOST, Cause("mount_slipped", "left", (1.0, 3.0), 2.0, 0.3)).until(1.5, PARAMS)
    assert slipped.regained(rows(4.0, 5.9), T_S, PARAMS) == slipped
