"""Bare hands: `find_hands` for one take. Another detector: implement `HandDetector` (detector.py) and pass it."""

from __future__ import annotations

from handcap.reconstruct.hands.bare import HandParams, HandResult, find_hands
from handcap.reconstruct.hands.detector import HandDetector, Landmarks

__all__ = ["HandDetector", "HandParams", "HandResult", "Landmarks", "find_hands"]
