"""Wishes from keys, buttons and timetables become takes; everybody who listens hears what became of them."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest
from recording import RIG, session_meta
from simulated_board import SimulatedBoard, sensor, usual_sensors

from handcap import session as session_store
from handcap.capture import Capture, CaptureParams
from handcap.capture.buttons import ButtonWishes
from handcap.capture.keys import HeldKey, Keys
from handcap.capture.light import GONE, NOT_GOOD, OFF, RECORDING, WARNING, RigLight
from handcap.capture.operator import Operator, OperatorParams, Said, Timetable, Wish, Wishes
from handcap.capture.verdict import SpotParams
from handcap.devices import open_board
from handcap.types import Rig


class Heard:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self._changed = threading.Condition()

    def hear(self, said: Said) -> None:
        with self._changed:
            self.said.append(said)
            self._changed.notify_all()

    @property
    def kinds(self) -> list[str]:
        return [said.kind for said in self.said]

    def wait(self, *kinds: str) -> None:
        """Until exactly this has been heard."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.said) >= len(kinds), 20), self.kinds
            assert self.kinds == list(kinds)


class Bench:
    """Two simulated boards without cameras, an operator at work in a thread, and somebody who listens."""

    def __init__(
        self, path: Path, held: ExitStack, params: OperatorParams | None = None, *, field_pass: bool = False
    ) -> None:
        light = [one for one in usual_sensors() if one.kind != sensor("LIGHT").kind]
        self.head = held.enter_context(SimulatedBoard(path / "head", uid=1))
        self.left = held.enter_context(SimulatedBoard(path / "left", uid=2, sensors=light))
        boards = {name: open_board(str(path / name)) for name in ("head", "left")}
        rig = Rig("bench", RIG.devices, {})
        capture = CaptureParams(spot=SpotParams(least_s=0.2), settle_s=0.05)
        self.session = path / "session"
        self.running = held.enter_context(
            Capture(self.session, session_meta("capture"), rig, boards, capture, field_pass=field_pass)
        )
        self.running.ready()
        self.wishes: Wishes = SimpleQueue()
        self.heard = Heard()
        light_of_rig = RigLight(boards.values())
        self.running.listen(lambda device: ButtonWishes(self.wishes, lambda: self.running.recorder.recording).hear)
        self.operator = Operator(self.running, self.wishes, "tidy", [self.heard, light_of_rig], params=params)
        self._thread = threading.Thread(target=self.operator.run)
        self._thread.start()
        held.callback(light_of_rig.close)
        held.callback(self.leave)
        self.heard.wait("ready")

    def wish(self, *wishes: Wish) -> None:
        for wish in wishes:
            self.wishes.put(wish)

    def leave(self) -> None:
        self.wish("finish", "yes")
        self._thread.join(20)
        assert not self._thread.is_alive()

    def states(self) -> dict[str, str]:
        return {take: record.state for take, record in session_store.read(self.session).journal().items()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as held:
        yield Bench(tmp_path, held)


@pytest.fixture
def judging(tmp_path: Path) -> Iterator[Bench]:
    """The same with the field pass."""
    with ExitStack() as held:
        yield Bench(tmp_path, held, field_pass=True)


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_wishes_become_takes_and_the_last_one_can_be_thrown_away(bench: Bench) -> None:
    bench.wish("start")
    bench.heard.wait("ready", "started")
    bench.wish("start")  # it runs already
    time.sleep(0.5)
    bench.wish("end", "end", "toggle")
    bench.heard.wait("ready", "started", "ended", "started")
    time.sleep(0.5)
    bench.wish("discard")
    bench.heard.wait("ready", "started", "ended", "started", "ended", "discarded")
    assert [said.take for said in bench.heard.said] == [None, "0001", "0001", "0002", "0002", "0002"]
    assert bench.states() == {"0001": "ended", "0002": "discarded"}
    assert bench.heard.said[2].sentence["zh"].startswith("第1条")
    bench.wish("discard")  # only the last one, and that is gone
    bench.heard.wait("ready", "started", "ended", "started", "ended", "discarded", "warning")
    assert bench.states() == {"0001": "ended", "0002": "discarded"}


def test_after_a_take_that_broke_off_the_good_one_before_it_is_not_thrown_away(bench: Bench, tmp_path: Path) -> None:
    bench.wish("start")
    bench.heard.wait("ready", "started")
    time.sleep(0.5)
    bench.wish("end", "start")
    bench.heard.wait("ready", "started", "ended", "started")
    (bench.session / "raw/0002").rename(tmp_path / "elsewhere")
    eventually(lambda: not bench.running.recorder.recording)
    bench.wish("discard")
    eventually(lambda: sum(said.kind == "warning" for said in bench.heard.said) >= 2)
    assert all(said.kind != "discarded" for said in bench.heard.said)
    assert bench.states()["0001"] == "ended"


def test_a_take_is_erased_when_it_is_wished_twice(bench: Bench) -> None:
    bench.wish("start")
    bench.heard.wait("ready", "started")
    time.sleep(0.5)
    bench.wish("erase")
    bench.heard.wait("ready", "started", "ended", "warning")
    assert bench.heard.said[-1].sentence["en"].startswith("Erase take 1 for good?")
    bench.wish("erase")
    bench.heard.wait("ready", "started", "ended", "warning", "erased")
    assert bench.states() == {"0001": "erased"}
    assert [p.name for p in (bench.session / "raw/0001").iterdir()] == ["erased.json"]
    assert not (bench.session / "derived/0001").exists()
    bench.wish("start")
    bench.heard.wait("ready", "started", "ended", "warning", "erased", "started")
    assert bench.heard.said[-1].take == "0002", "its number is never used again"


def test_anything_else_than_the_same_wish_again_leaves_the_take_alone(bench: Bench) -> None:
    bench.wish("start")
    bench.heard.wait("ready", "started")
    time.sleep(0.5)
    bench.wish("erase", "no", "erase", "start")
    bench.heard.wait("ready", "started", "ended", "warning", "warning", "started")
    bench.wish("end")
    bench.heard.wait("ready", "started", "ended", "warning", "warning", "started", "ended")
    assert bench.states() == {"0001": "ended", "0002": "ended"}


def test_a_question_that_nobody_answers_is_answered_no(tmp_path: Path) -> None:
    with ExitStack() as held:
        bench = Bench(tmp_path, held, OperatorParams(answer_s=0.3, look_s=0.05))
        bench.wish("start")
        bench.heard.wait("ready", "started")
        time.sleep(0.5)
        bench.wish("erase")
        bench.heard.wait("ready", "started", "ended", "warning")
        time.sleep(0.6)
        bench.wish("erase")
        bench.heard.wait("ready", "started", "ended", "warning", "warning")
        assert bench.states() == {"0001": "ended"}


def test_ending_with_takes_to_be_judged_needs_a_yes(judging: Bench) -> None:
    assert judging.running.field is not None
    judging.wish("start")
    judging.heard.wait("ready", "started")
    time.sleep(0.5)
    for _ in range(3):  # the pass on a take lasts seconds
        judging.running.field.add("0001")
    judging.wish("finish", "no")
    judging.heard.wait("ready", "started", "ended", "warning")
    assert " not judged yet" in judging.heard.said[-1].sentence["en"]
    judging.wish("finish", "yes")
    judging.heard.wait("ready", "started", "ended", "warning", "warning", "finished")


def test_a_field_pass_on_a_take_that_is_erased_is_stopped_first(judging: Bench) -> None:
    field = judging.running.field
    assert field is not None
    judging.wish("start")
    judging.heard.wait("ready", "started")
    time.sleep(0.5)
    judging.wish("end")
    judging.heard.wait("ready", "started", "ended")
    if not field.unjudged:  # a take that is refused on the spot is not looked at again
        field.add("0001")
    eventually(lambda: field._running is not None)  # pyright: ignore[reportPrivateUsage]
    passing = field._running  # pyright: ignore[reportPrivateUsage]
    assert passing is not None
    judging.wish("erase", "yes")
    judging.heard.wait("ready", "started", "ended", "warning", "erased")
    assert passing.poll() is not None
    assert field.unjudged == [] and "0001" not in field.verdicts
    assert not (judging.session / "derived/0001").exists()


def test_the_button_starts_ends_throws_away_and_erases(bench: Bench) -> None:
    bench.left.play_presses((0.0, 0.1))
    bench.heard.wait("ready", "started")
    time.sleep(0.5)
    bench.head.play_presses((0.0, 0.1))
    bench.heard.wait("ready", "started", "ended")
    bench.head.play_presses((2.0, 2.1), (2.3, 2.4))
    bench.heard.wait("ready", "started", "ended", "discarded")
    bench.left.play_presses((2.0, 4.5))
    bench.heard.wait("ready", "started", "ended", "discarded", "warning")
    bench.left.play_presses((7.0, 9.5))
    bench.heard.wait("ready", "started", "ended", "discarded", "warning", "erased")
    assert bench.states() == {"0001": "erased"}


def test_the_light_shows_the_state_of_the_take_on_boards_that_have_one(bench: Bench) -> None:
    bench.wish("start")
    bench.heard.wait("ready", "started")
    eventually(lambda: bench.head.lights[-1:] == [RECORDING])
    time.sleep(0.5)
    bench.operator.tell(Said("warning", {"en": "The battery is low.", "zh": "电量低。"}))
    eventually(lambda: bench.head.lights[-1:] == [WARNING])
    bench.wish("discard")
    bench.heard.wait("ready", "started", "warning", "ended", "discarded")
    eventually(lambda: bench.head.lights[-1:] == [GONE])
    bench.leave()
    eventually(lambda: bench.head.lights[-1:] == [OFF])
    assert bench.left.lights == [] and "light" not in bench.left.heard
    assert NOT_GOOD not in bench.head.lights


def test_a_listener_that_breaks_is_not_the_others_concern(bench: Bench) -> None:
    class Broken:
        def hear(self, said: Said) -> None:
            raise RuntimeError("no")

    bench.operator.listeners.insert(0, Broken())
    bench.wish("start")
    bench.heard.wait("ready", "started")


def test_a_timetable_records_so_many_takes_and_finishes(tmp_path: Path) -> None:
    with ExitStack() as held:
        bench = Bench(tmp_path, held)
        judged: list[int] = []
        table = Timetable(bench.wishes, 2, 0.5, lambda: judged.append(1))
        bench.operator.listeners.append(table)
        table.hear(Said("ready", {}))
        bench.heard.wait("ready", "started", "ended", "started", "ended", "finished")
        assert judged == [1]


# Keys, on a real terminal.


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def typed(terminal: tuple[int, int], keys: bytes, count: int) -> list[Wish]:
    wishes: Wishes = SimpleQueue()
    ours, theirs = terminal
    with Keys(wishes, theirs):
        for at in range(len(keys)):
            os.write(ours, keys[at : at + 1])
            time.sleep(0.005)
        return [wishes.get(timeout=10) for _ in range(count)]


def test_keys_are_wishes_without_enter_and_others_are_nothing(terminal: tuple[int, int]) -> None:
    assert typed(terminal, b"x dz\tenQy", 6) == ["toggle", "discard", "erase", "next", "finish", "yes"]


def test_a_held_pedal_is_one_press(terminal: tuple[int, int]) -> None:
    assert typed(terminal, b" " * 40 + b"q", 2) == ["toggle", "finish"]


def test_a_key_that_repeats_is_one_press_however_late_the_keyboard_begins() -> None:
    for first_repeat_s in (0.25, 0.5, 0.66):
        key = HeldKey()
        came = [0.0, *(first_repeat_s + 0.033 * k for k in range(60))]
        assert [key.is_press("e", t) for t in came] == [True] + [False] * 60
        assert key.is_press("e", came[-1] + 1.0), "pressed again"
    assert key.is_press("q", came[-1] + 1.01), "another key"


def test_the_terminal_is_as_it_was_afterwards(terminal: tuple[int, int]) -> None:
    import termios

    before = termios.tcgetattr(terminal[1])
    typed(terminal, b"q", 1)
    assert termios.tcgetattr(terminal[1]) == before


def test_a_terminal_that_is_gone_finishes_the_session() -> None:
    wishes: Wishes = SimpleQueue()
    ours, theirs = pty.openpty()
    keys = Keys(wishes, theirs)
    keys.__enter__()
    os.close(ours)
    assert wishes.get(timeout=10) == "stop"
    keys.__exit__()
    os.close(theirs)
