"""The seam for whatever finds hands in pictures: implement `HandDetector` and pass it to `find_hands`."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        presence: belief that there is a hand at all, 0..1.
    """

    pixel: Array
    relative_m: Array
    right: float
    presence: float = 1.0

    def __post_init__(self) -> None:
        assert self.pixel.shape == (JOINTS, 2) and self.relative_m.shape == (JOINTS, 3)

    def mirrored(self, width_px: int) -> Landmarks:
        """The same hand in the picture of this width laid left to right."""
        pixel = self.pixel * [-1, 1] + [width_px - 1, 0]
        return replace(self, pixel=pixel, relative_m=self.relative_m * [-1, 1, 1], right=1 - self.right)


class HandDetector(Protocol):
    """Finds hands in undistorted pictures. The same picture must give the same answer."""

    def look(self, picture: Picture) -> list[Landmarks]:
        """Every hand in a picture of which nothing is known."""
        ...

    def refine(self, picture: Picture) -> Landmarks:
        """The hand in the middle of a square picture, turned so that its middle finger starts upwards from the wrist,
        the palm half as large as the picture; see `VirtualView.upright`. Asked from several threads at once.
        """
        ...
