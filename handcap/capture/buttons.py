"""The rig's button: presses by the board's clock, gestures from these, wishes from those.

A slow host reads late what happened early. So everything here is told in the board's time: a short press stays short
however late its message is read, and time passes only with what the board says later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from handcap.capture.operator import Wishes
from handcap.clock import NS_PER_S
from handcap.wire.handcap_pb2 import Button, Envelope

Gesture = Literal["down", "single", "double", "long"]


@dataclass(frozen=True, slots=True)
class GestureParams:
    """Of presses with a thumb, in a glove perhaps.

    Attributes:
        bounce_s: a press so soon after a release is the contact's, and the old press goes on; firmware settles most.
        double_s: from the first release to the second press.
        long_s: held so long.
        told_s: an edge is told at most so much later, so that only then is its absence certain.
    """

    bounce_s: float = 0.03
    double_s: float = 0.4
    long_s: float = 2.0
    told_s: float = 0.05


class Gestures:
    """Of one board's button. Every press is at once a "down"; what it was is said when it is certain."""

    def __init__(self, params: GestureParams | None = None) -> None:
        params = params or GestureParams()
        self._bounce_ns, self._double_ns, self._long_ns, self._told_ns = (
            round(s * NS_PER_S) for s in (params.bounce_s, params.double_s, params.long_s, params.told_s)
        )
        self._boot_id: int | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._presses: int | None = None
        self._pressed_ns: int | None = None  # of a press that is held
        self._released_ns: int | None = None  # of a press that may become a double one
        self._said = False  # whether it is known what the press that is held is

    def hear(self, envelope: Envelope) -> Iterator[Gesture]:
        """Any message of the board, in the order sent."""
        if self._boot_id != envelope.boot_id:  # its clock and its count began again
            self._boot_id = envelope.boot_id
            self._begin_anew()
        if not envelope.HasField("button"):
            yield from self._pass(1000 * envelope.t_us - self._told_ns)
            return
        button, before = envelope.button, self._presses
        self._presses = button.presses
        yield from self._pass(button.edge_t_ns)
        if button.edge == Button.EDGE_PRESSED and (self._pressed_ns is None or button.presses != before):
            yield from self._press(button.edge_t_ns)
        elif button.edge == Button.EDGE_RELEASED:
            if self._pressed_ns is None and before is not None and button.presses > before:
                yield from self._press(button.edge_t_ns)  # the message that it was pressed is lost
            self._release(button.edge_t_ns)

    def _press(self, t_ns: int) -> Iterator[Gesture]:
        released_ns, self._released_ns = self._released_ns, None
        if released_ns is not None and t_ns - released_ns < self._bounce_ns:
            self._pressed_ns = t_ns
            return
        yield "down"
        self._pressed_ns, self._said = t_ns, released_ns is not None
        if released_ns is not None:
            yield "double"

    def _release(self, t_ns: int) -> None:
        if self._pressed_ns is not None and not self._said:
            self._released_ns = t_ns
        self._pressed_ns = None

    def _pass(self, t_ns: int) -> Iterator[Gesture]:
        """The board's clock shows `t_ns`, and nothing came before."""
        if self._pressed_ns is not None and not self._said and t_ns - self._pressed_ns >= self._long_ns:
            self._said = True
            yield "long"
        if self._released_ns is not None and t_ns - self._released_ns > self._double_ns:
            self._released_ns = None
            yield "single"


class ButtonWishes:
    """Gestures of one board as wishes.

    A press ends a running take at once, whatever it becomes; then a double one throws it away, a long one asks to
    erase it. Without a running take, a single press starts one.

    Args:
        wishes: gets them.
        recording: whether a take runs.
    """

    def __init__(self, wishes: Wishes, recording: Callable[[], bool], params: GestureParams | None = None) -> None:
        self._wishes, self._recording = wishes, recording
        self._gestures = Gestures(params)
        self._ended = False  # a take, by the newest press

    def hear(self, envelope: Envelope) -> None:
        """Any message of the board, in the order sent."""
        for gesture in self._gestures.hear(envelope):
            if gesture == "down":
                self._ended = self._recording()
                if self._ended:
                    self._wishes.put("end")
            elif gesture == "single":
                if not self._ended:
                    self._wishes.put("toggle")
            else:
                self._wishes.put("discard" if gesture == "double" else "erase")
