"""What goes wrong on a cable: frames that come twice, overtake each other, or come with noise among them."""

from __future__ import annotations

import random
from typing import Literal, get_args

Trouble = Literal["twice", "swapped", "garbage"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)
_DAMAGED_EVERY = 10


class Mischief:
    """The way of one talker's frames.

    Attributes:
        troubles: what happens on it now.
        damaged: frames that were spoiled beyond use.
    """

    def __init__(self, seed: int = 0) -> None:
        self.troubles: set[str] = set()
        self.damaged = 0
        self._random = random.Random(seed)
        self._held = b""
        self._frames = 0

    def on_the_way(self, data: bytes) -> bytes:
        """What arrives where a frame was sent."""
        self._frames += 1
        if "garbage" in self.troubles:
            noise = self._random.randbytes(self._random.randrange(1, 200))
            if self._frames % _DAMAGED_EVERY == 0:  # noise that swallows the frame
                self.damaged += 1
                data = noise.replace(b"\0", b"\1") + data[len(data) // 2 :]
            else:
                data = b"\0" + noise + b"\0" + data
        if "twice" in self.troubles:
            data = data + data
        if "swapped" in self.troubles:
            if not self._held:
                self._held = data
                return b""
            data, self._held = data + self._held, b""
        elif self._held:
            data, self._held = self._held + data, b""
        return data
