"""One self-contained HTML page: a verdict, what to do, tables and charts. Nothing is fetched, nothing is run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from handcap.causes import Cause, Language, Verdict
from handcap.session.folder import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS: dict[Verdict, dict[Language, str]] = {
    "ok": {"en": "Good: use it", "zh": "合格:可以使用"},
    "partial": {"en": "Usable, with reservations", "zh": "可用,但有保留"},
    "refused": {"en": "Refused: do not use it", "zh": "不合格:请勿使用"},
}
_TEMPLATE = """<!doctype html>
<html lang="{{ lang }}"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
.verdict { padding: .6em 1em; border-radius: .4em; color: #fff; font-weight: 600 }
.ok { background: #2a7d46 } .partial { background: #a66a00 } .refused { background: #b3261e }
table { border-collapse: collapse }
td, th { padding: .2em .9em .2em 0; text-align: left; border-bottom: 1px solid #ddd }
td { font-variant-numeric: tabular-nums } svg { max-width: 100%; height: auto } .mend::before { content: "→ " }
figure { margin: 1em 0 } figcaption { color: #555 }
</style></head><body>
<h1>{{ title }}</h1>
<p class="verdict {{ verdict }}">{{ verdict_word }}</p>
{% for text, mend in causes %}<p>{{ text }}<br><span class="mend">{{ mend }}</span></p>
{% endfor %}{% for line in lines %}<p>{{ line }}</p>
{% endfor %}{% for table in tables %}<h2>{{ table.title }}</h2>
<table><tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}{% for caption, svg in charts %}<figure>{{ svg }}<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}</body></html>
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words and numbers, as they are shown."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False, slots=True)
class Page:
    """What a technician reads.

    Attributes:
        title: what was calibrated.
        verdict, causes: as in the part.
        lines: sentences that say what the numbers mean and what to do.
        tables: numbers with their intervals.
        charts: (caption, figure of matplotlib).
        lang: of the words.
    """

    title: str
    verdict: Verdict
    causes: Sequence[Cause] = ()
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[tuple[str, Figure]] = field(default=())
    lang: Language = "en"


def write_page(path: Path, page: Page) -> None:
    """The same page gives the same bytes. Raises SessionError where it cannot be written."""
    from jinja2 import Environment
    from markupsafe import Markup

    template = Environment(autoescape=True).from_string(_TEMPLATE)
    text = template.render(
        lang=page.lang,
        title=page.title,
        verdict=page.verdict,
        verdict_word=_WORDS[page.verdict][page.lang],
        causes=[(cause.text(page.lang), cause.mend(page.lang)) for cause in page.causes],
        lines=page.lines,
        tables=page.tables,
        charts=[(caption, Markup(_svg(figure))) for caption, figure in page.charts],
    )
    replace_file(path, text.encode())


def _svg(figure: Figure) -> str:
    """Without date, version or random names in it."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "handcap", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    text = out.getvalue()
    return text[text.index("<svg") :]
