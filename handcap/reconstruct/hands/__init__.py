"""Bare hands: `find_hands` for one take, `judged_hands` says how good they are.

Another detector: implement `HandDetector` (detector.py) and pass it.
"""

from __future__ import annotations

from handcap.reconstruct.hands.bare import HandParams, HandResult, find_hands, judged_hand, judged_hands
from handcap.reconstruct.hands.detector import HandDetector, Landmarks
from handcap.reconstruct.hands.verdict import HandJudgement, HandLimits

__all__ = [
    "HandDetector",
    "HandJudgement",
    "HandLimits",
    "HandParams",
    "HandResult",
    "Landmarks",
    "find_hands",
    "judged_hand",
    "judged_hands",
]
