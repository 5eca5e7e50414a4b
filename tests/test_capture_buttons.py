"""The button's presses are told apart by the board's clock, so that a slow host changes nothing."""

from __future__ import annotations

from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handcap.capture.buttons import ButtonWishes, Gestures
from handcap.capture.operator import Wishes
from handcap.wire.handcap_pb2 import Button, Envelope, Status

MS = 1_000_000


class Thumb:
    """Presses a board's button and lets its clock run."""

    def __init__(self) -> None:
        self.gestures = Gestures()
        self.heard: list[str] = []
        self.presses = 0
        self.boot_id = 7

    def edge(self, t_ms: float, edge: str, presses: int | None = None) -> None:
        button = Button(edge=f"EDGE_{edge}", edge_t_ns=round(t_ms * MS), presses=presses or self.presses)
        self._hear(Envelope(boot_id=self.boot_id, t_us=round(t_ms * 1000) + 21_000, button=button))

    def press(self, at_ms: float, held_ms: float, *, told: str = "both") -> None:
        self.presses += 1
        if told != "release":
            self.edge(at_ms, "PRESSED")
        if told != "press":
            self.edge(at_ms + held_ms, "RELEASED")

    def time(self, t_ms: float) -> None:
        """Any other message of the board."""
        self._hear(Envelope(boot_id=self.boot_id, t_us=round(t_ms * 1000), status=Status()))

    def _hear(self, envelope: Envelope) -> None:
        self.heard += self.gestures.hear(envelope)


@pytest.fixture
def thumb() -> Thumb:
    thumb = Thumb()
    thumb.presses = 4
    thumb.edge(1_000, "RELEASED")  # of a press before anybody listened
    return thumb


def test_a_short_press_is_single_once_no_second_can_come(thumb: Thumb) -> None:
    thumb.press(10_000, 150)
    thumb.time(10_500)
    assert thumb.heard == ["down"]
    thumb.time(10_700)
    assert thumb.heard == ["down", "single"]


def test_two_short_presses_are_double(thumb: Thumb) -> None:
    thumb.press(10_000, 150)
    thumb.press(10_450, 150)
    thumb.time(20_000)
    assert thumb.heard == ["down", "down", "double"]


def test_two_presses_far_apart_are_two(thumb: Thumb) -> None:
    thumb.press(10_000, 150)
    thumb.press(10_800, 150)
    thumb.time(20_000)
    assert thumb.heard == ["down", "single", "down", "single"]


def test_a_long_press_is_said_while_it_is_held_and_is_nothing_else(thumb: Thumb) -> None:
    thumb.presses += 1
    thumb.edge(10_000, "PRESSED")
    thumb.time(12_100)
    assert thumb.heard == ["down", "long"]
    thumb.edge(15_000, "RELEASED")
    thumb.time(20_000)
    assert thumb.heard == ["down", "long"]


def test_a_short_press_that_is_read_late_and_all_at_once_is_still_short(thumb: Thumb) -> None:
    """Other messages of the time while it was held come before the release's: they say nothing yet."""
    thumb.presses += 1
    thumb.edge(10_000, "PRESSED")
    for t_ms in range(10_000, 11_980, 20):
        thumb.time(t_ms)
    thumb.time(12_015)  # sent before the firmware knew that the release had settled
    thumb.edge(11_990, "RELEASED")
    thumb.time(13_000)
    assert thumb.heard == ["down", "single"]


def test_a_contact_that_bounces_is_one_press(thumb: Thumb) -> None:
    thumb.press(10_000, 5)
    thumb.press(10_015, 8)
    thumb.press(10_030, 140)
    thumb.time(20_000)
    assert thumb.heard == ["down", "single"]


def test_a_press_whose_first_message_is_lost_still_counts(thumb: Thumb) -> None:
    thumb.press(10_000, 150, told="release")
    thumb.time(20_000)
    assert thumb.heard == ["down", "single"]


def test_a_release_that_is_lost_does_not_swallow_the_next_press(thumb: Thumb) -> None:
    thumb.press(10_000, 150, told="press")
    thumb.press(11_000, 150)
    thumb.time(20_000)
    assert thumb.heard == ["down", "down", "single"]


def test_a_message_that_comes_twice_is_one_press(thumb: Thumb) -> None:
    thumb.presses += 1
    thumb.edge(10_000, "PRESSED")
    thumb.edge(10_000, "PRESSED")
    thumb.edge(10_150, "RELEASED")
    thumb.edge(10_150, "RELEASED")
    thumb.time(20_000)
    assert thumb.heard == ["down", "single"]


def test_a_board_that_restarts_while_its_button_is_held_has_not_seen_a_long_press(thumb: Thumb) -> None:
    thumb.presses += 1
    thumb.edge(10_000, "PRESSED")
    thumb.boot_id += 1
    thumb.time(60_000)
    assert thumb.heard == ["down"]
    thumb.presses = 1
    thumb.press(61_000, 150)
    thumb.time(70_000)
    assert thumb.heard == ["down", "down", "single"]


@given(
    st.lists(st.tuples(st.floats(40, 1800), st.floats(600, 5000)), min_size=1, max_size=6),
    st.integers(1, 500),
)
def test_short_presses_far_apart_are_single_however_often_the_board_speaks(
    presses: list[tuple[float, float]], every_ms: int
) -> None:
    thumb, at = Thumb(), 5_000.0
    thumb.time(at)
    for held, pause in presses:
        thumb.presses += 1
        thumb.edge(at, "PRESSED")
        for t_ms in range(int(at), int(at + held), every_ms):
            thumb.time(t_ms)
        thumb.edge(at + held, "RELEASED")
        at += held + pause
    thumb.time(at + 1_000)
    assert thumb.heard == ["down", "single"] * len(presses)


class Hand(Thumb):
    """The same, told as wishes."""

    def __init__(self, recording: bool) -> None:
        super().__init__()
        self.recording = recording
        self.wishes: Wishes = SimpleQueue()
        self.button = ButtonWishes(self.wishes, lambda: self.recording)

    def _hear(self, envelope: Envelope) -> None:
        self.button.hear(envelope)
        while not self.wishes.empty():
            self.heard.append(self.wishes.get())
            self.recording = (self.recording or self.heard[-1] == "toggle") and self.heard[-1] != "end"


@pytest.mark.parametrize(
    ("recording", "presses", "wishes"),
    [
        (False, [150], ["toggle"]),
        (True, [150], ["end"]),
        (False, [150, 150], ["discard"]),
        (True, [150, 150], ["end", "discard"]),
        (False, [2500], ["erase"]),
        (True, [2500], ["end", "erase"]),
    ],
)
def test_a_press_ends_a_running_take_at_once_and_then_is_what_it_becomes(
    recording: bool, presses: list[int], wishes: list[str]
) -> None:
    hand, at = Hand(recording), 10_000
    for held in presses:
        hand.presses += 1
        hand.edge(at, "PRESSED")
        if recording:
            assert hand.heard[0] == "end", "at once"
        hand.time(at + held)
        hand.edge(at + held + 1, "RELEASED")
        at += held + 200
    hand.time(at + 2_000)
    assert hand.heard == wishes


def test_takes_follow_each_other_by_single_presses() -> None:
    hand = Hand(recording=False)
    for at in (10_000, 15_000, 20_000, 25_000):
        hand.press(at, 150)
        hand.time(at + 1_000)
    assert hand.heard == ["toggle", "end", "toggle", "end"]
