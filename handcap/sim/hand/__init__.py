"""An articulated hand: 21 joints in MediaPipe's order, limits, skin, postures."""

from handcap.sim.hand import grips
from handcap.sim.hand.hand import Hand, HandShape

__all__ = ["Hand", "HandShape", "grips"]
