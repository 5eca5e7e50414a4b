"""The seam for whatever finds hands in pictures: implement `HandDetector` and pass it to `find_hands`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from handcap.geometry import Array

Picture = NDArray[Any]  # (h, w, 3) uint8 RGB
JOINTS = 21


@dataclass(frozen=True, eq=False, slots=True)
class Landmarks:
    """One hand in one picture, joints in MediaPipe's order.

    Attributes:
        pixel: (21, 2) px, (0, 0) the centre of the top-left pixel.
        relative_m: (21, 3) shape in the picture's axes (x right, y down, z forward), about m, from any origin.
        right: belief that it is the wearer's right hand, 0..1.
    """

    pixel: Array
    relative_m: Array
    right: float

    def __post_init__(self) -> None:
        assert self.pixel.shape == (JOINTS, 2) and self.relative_m.shape == (JOINTS, 3)


class HandDetector(Protocol):
    """Finds hands in undistorted pictures. The same sequence of calls must give the same answers."""

    def look(self, picture: Picture) -> list[Landmarks]:
        """Every hand in a picture of which nothing is known."""
        ...

    def follow(self, track: str, picture: Picture, t_ns: int) -> Landmarks | None:
        """The hand in the middle of a picture that is cut so that the hand stays where it was, as large as it was.

        Args:
            track: names the hand and the camera; what a detector remembers is remembered by it.
            picture: square.
            t_ns: increases from call to call of one track.
        """
        ...
