"""How a part's verdict is said."""

from __future__ import annotations

from handcap.causes import Language

VERDICTS: dict[str, dict[Language, str]] = {
    "ok": {"en": "ok", "zh": "合格"},
    "partial": {"en": "usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "refused", "zh": "不合格"},
}
