"""How many good takes of a card a session holds, and which variation is next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from handcap import session as session_store
from handcap.capture.task_card import TaskCard, Variation
from handcap.errors import SessionError


@dataclass(slots=True)
class Tally:
    """Takes of one card.

    Attributes:
        variation: take to the id of its variation, in the order they were recorded; None where the card has none.
        good: takes that everybody who judged them found good.
    """

    variation: dict[str, str | None] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)

    def next_variation(self, card: TaskCard) -> Variation | None:
        """The one with the fewest good takes; of these, the first on the card. The same takes give the same answer."""
        done = Counter(self.variation[take] for take in self.good)
        return min(card.variations, key=lambda way: done[way.id], default=None)


def read_tally(session: Path, card: TaskCard) -> Tally:
    """What an earlier start of a session holds of a card; of its older versions too. Empty where there is no session.

    A take counts when it was kept and every verdict on it is "ok".
    """
    tally = Tally()
    try:
        opened = session_store.read(session)
    except SessionError:
        return tally
    kept = {take for take, record in opened.journal().items() if record.state in ("ended", "recovered")}
    for take, use in opened.cards().items():
        if use.card == card.id:
            tally.variation[take] = use.variation
            if take in kept and _good(opened, take):
                tally.good.add(take)
    return tally


def _good(session: session_store.Session, take: str) -> bool:
    """On the spot, and in the reconstruction; until that is done, in the field pass."""
    spot, field, whole = (_verdict(session, take, stage) for stage in ("capture", "field", "reconstruct"))
    return spot == "ok" and (whole or field or "ok") == "ok"


def _verdict(session: session_store.Session, take: str, stage: str) -> str | None:
    try:
        return session_store.read_report(session.derived(take, stage)).get("verdict")
    except SessionError:
        return None  # not judged by it
