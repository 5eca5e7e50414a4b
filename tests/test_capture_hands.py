"""Bare hands are counted while a take runs, by a process of its own that nothing waits for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from carded import CARD, card, watched
from recording import jpeg, session_meta

from handcap import models
from handcap.cameras import PinholeRadtan
from handcap.capture import Capture
from handcap.capture.camera_watch import CameraWatch
from handcap.capture.hand_watch import HandWatch
from handcap.capture.task_judge import judge_work
from handcap.capture.task_run import TaskRun
from handcap.capture.verdict import judge
from handcap.errors import ModelError
from handcap.sim.rigs import drawn
from handcap.types import Rig

SIZE = (384, 512)
LONGEST_S = 60.0
_TWO_HANDS = CARD.replace('tags_in_view = ["right"]', "hands_in_view = 2")


def _bare() -> Rig:
    """Two head cameras that see as a telephone does, and no gripper."""
    rig = drawn("hands", 1)
    lens = PinholeRadtan(*SIZE, (450.0, 450.0, SIZE[0] / 2, SIZE[1] / 2, 0.0, 0.0, 0.0, 0.0))
    return replace(rig, cameras={name: replace(mount, camera=lens) for name, mount in rig.cameras.items()})


@pytest.fixture(scope="module")
def hands() -> Iterator[HandWatch]:
    models.ensure(models.HAND_LANDMARKER)
    watch = HandWatch(_bare())
    yield watch
    watch.close()


def _counted(watch: HandWatch, picture: bytes) -> int:
    """Of one picture, by the watch of one camera."""
    camera = CameraWatch()
    watch.begin()
    watch.wait(LONGEST_S)
    watch.offer(camera, "head_left", 1_500_000_000, picture, "jpeg")
    watch.wait(LONGEST_S)
    ((t_s, count),) = camera.hands
    assert t_s == 1.5
    return count


@pytest.mark.parametrize("gesture", ["four", "call", "rock"])
def test_hands_in_real_photographs_are_counted(
    hands: HandWatch, shared_data: Callable[[str], Path], gesture: str
) -> None:
    shown = []
    for path in sorted(shared_data(f"hands/mediapipe_gestures/raw_data/{gesture}").iterdir()):
        picture = cv2.imread(str(path))
        assert picture is not None
        if picture.shape[:2] == SIZE[::-1]:
            shown.append(_counted(hands, path.read_bytes()) > 0)
    assert len(shown) >= 3
    assert np.mean(shown) > 0.7  # what spoils a take is less than a third


def test_a_picture_of_noise_shows_no_hands(hands: HandWatch) -> None:
    assert _counted(hands, jpeg(1, *SIZE)) == 0


def test_of_each_camera_one_picture_a_second_is_looked_at(hands: HandWatch) -> None:
    camera, picture = CameraWatch(), jpeg(1, *SIZE)
    hands.begin()
    for t_ns in range(0, 3_000_000_000, 100_000_000):
        hands.wait(LONGEST_S)
        hands.offer(camera, "head_left", t_ns, picture, "jpeg")
    hands.wait(LONGEST_S)
    assert [t_s for t_s, _ in camera.hands] == [0.0, 1.0, 2.0]


def test_a_picture_that_does_not_decode_or_is_of_another_lens_is_not_counted(hands: HandWatch) -> None:
    whole = jpeg(1, *SIZE)
    for picture in (whole[: len(whole) // 2], b"", jpeg(1, 64, 64)):
        camera = CameraWatch()
        hands.begin()
        hands.wait(LONGEST_S)
        hands.offer(camera, "head_left", 1, picture, "jpeg")
        hands.wait(LONGEST_S)
        assert camera.hands == []


def test_pictures_of_no_head_camera_are_not_looked_at(hands: HandWatch) -> None:
    camera = CameraWatch()
    hands.offer(camera, "left", 1, b"", "jpeg")
    hands.wait(0.0)
    assert camera.hands == []


def test_a_process_that_is_killed_costs_nothing_but_its_counts() -> None:
    models.ensure(models.HAND_LANDMARKER)
    watch, camera = HandWatch(_bare()), CameraWatch()
    os.kill(watch.pid, signal.SIGKILL)
    began = time.monotonic()
    watch.offer(camera, "head_left", 1, jpeg(1, *SIZE), "jpeg")
    watch.wait(LONGEST_S)
    watch.close()
    assert camera.hands == []
    assert time.monotonic() - began < LONGEST_S


def test_without_weights_the_reason_is_told_where_hands_are_bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "folder", lambda: tmp_path)
    asks = TaskRun(card(tmp_path, _TWO_HANDS))
    for k, (rig, work, told) in enumerate((("hands", None, True), ("full", None, False), ("full", asks, True))):
        meta = session_meta("capture")
        with Capture(tmp_path / f"s{k}", meta, drawn(rig, 1), {}, field_pass=False, work=work) as running:
            assert isinstance(running.hands_unwatched, ModelError) is told
    with pytest.raises(ModelError):
        HandWatch(_bare())


@pytest.mark.parametrize(("seen", "told"), [(0, True), (2, True), (3, False), (10, False)])
def test_a_bare_handed_take_that_hardly_shows_a_hand_is_not_simply_good(seen: int, told: bool) -> None:
    take = watched()
    take.devices.clear()
    take.cameras["right"].hands = [(float(k), int(k < seen)) for k in range(10)]
    codes = [cause.code for cause in judge(take, {}, bare_handed=True).causes]
    assert ("hands_unseen" in codes) is told
    assert "hands_unseen" not in [cause.code for cause in judge(take, {}).causes]


def test_where_nobody_looked_for_hands_none_are_missed() -> None:
    assert "hands_unseen" not in [cause.code for cause in judge(watched(), {}, bare_handed=True).causes]


def test_a_step_that_asks_for_two_hands_is_not_shown_by_one(tmp_path: Path) -> None:
    asks = card(tmp_path, _TWO_HANDS)
    assert asks.asks_for_hands
    for count, told in ((1, ["step_hands_unseen"]), (2, [])):
        take = watched()
        take.cameras["right"].hands = [(float(k), count) for k in range(10)]
        assert [cause.code for part in judge_work(asks, take) for cause in part.causes] == told
