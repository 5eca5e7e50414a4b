"""A task card, `task.toml`: what is to be done in every take, how often, and what each step must show."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from handcap.causes import Language
from handcap.errors import TaskError
from handcap.types import Side

_LARGEST_FILE = 256 << 10
_LARGEST_PHOTO = 32 << 20
_LONGEST_SENTENCE = 200
_MEND = "docs/capture_tasks.md explains a whole card"
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def _sentence(text: str) -> str:
    """It is spoken, shown on a terminal and in a browser."""
    if not text.strip():
        raise ValueError("says nothing")
    if len(text) > _LONGEST_SENTENCE:
        raise ValueError(f"has {len(text)} letters; nobody listens to more than {_LONGEST_SENTENCE}")
    if not text.isprintable():
        raise ValueError("holds a line break or a control character; write one plain line")
    return text.strip()


def _once(things: list[Any]) -> list[Any]:
    if len({str(thing) for thing in things}) < len(things):
        raise ValueError("names something twice")
    return things


Sentence = Annotated[str, AfterValidator(_sentence)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
Sides = Annotated[list[Side], AfterValidator(_once)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] >= span[1]:
        raise ValueError(f"the least ({span[0]:g}) must be below the most ({span[1]:g})")
    return span


Span = Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Saying(_Table):
    """One sentence in every language."""

    en: Sentence
    zh: Sentence

    def __getitem__(self, lang: Language) -> str:
        return self.en if lang == "en" else self.zh


class Start(Saying):
    """How things lie before a take.

    Attributes:
        photo: a picture of it, JPEG or PNG, beside the card or below; None: there is none.
    """

    photo: str | None = None


class Must(_Table):
    """What a step, or a take, must show.

    Attributes:
        jaw_moved: grippers that open or close.
        tags_in_view: grippers whose finger tags their own camera sees.
        hands_in_view: how many bare hands the head's camera sees.
        length_s: (least, most), s.
    """

    jaw_moved: Sides = []
    tags_in_view: Sides = []
    hands_in_view: Annotated[int, Field(ge=0, le=2)] = 0
    length_s: Span | None = None


class Step(Saying):
    """One piece of work.

    Attributes:
        id: its name in labels and exports.
        must: what it must show.
    """

    id: Name
    must: Must = Must()


class Variation(Saying):
    """One way to do it; takes go through all of them in turn.

    Attributes:
        id: its name in the session.
        task: the instruction that data sets carry, where it is another than the card's.
    """

    id: Name
    task: Sentence | None = None


class _Card(_Table):
    id: Name
    title: Saying
    task: Sentence | None = None
    good_takes: Annotated[int, Field(ge=1, le=10_000)]
    length_s: Span
    practice_takes: Annotated[int, Field(ge=0, le=100)] = 0
    props: list[Saying] = []
    start: Start | None = None
    reset: Saying | None = None
    leave_alone: list[Saying] = []
    steps: Annotated[list[Step], Field(min_length=1, max_length=50)]
    variations: Annotated[list[Variation], Field(max_length=500)] = []

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for kind, things in (("steps", self.steps), ("variations", self.variations)):
            names = [thing.id for thing in things]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"two {kind} are called {twice!r}")
        least = sum(step.must.length_s[0] for step in self.steps if step.must.length_s is not None)
        if least > self.length_s[1]:
            raise ValueError(f"the steps last at least {least:g} s together, and a take at most {self.length_s[1]:g} s")
        return self


@dataclass(frozen=True, slots=True)
class TaskCard:
    """What is to be done.

    Attributes:
        id: its name in sessions and exports.
        sha256: of the card's file; a card that was changed is another card.
        text: the file.
        title: what the collector calls it.
        task: the instruction that data sets carry, in English.
        good_takes: how many are wanted.
        length_s: (least, most) of a take, s.
        practice_takes: good ones in a row that a collector must have shown before; 0: none.
        props: what must be there.
        start: how things lie at the start of each take.
        photo: of that, an existing file; None: there is none.
        reset: what is put back after each take.
        leave_alone: what must not be touched.
        steps: at least one, in their order.
        variations: to go through in turn; may be empty.
    """

    id: str
    sha256: str
    text: str
    title: Saying
    task: str
    good_takes: int
    length_s: Span
    practice_takes: int
    props: tuple[Saying, ...]
    start: Saying | None
    photo: Path | None
    reset: Saying | None
    leave_alone: tuple[Saying, ...]
    steps: tuple[Step, ...]
    variations: tuple[Variation, ...]

    def instruction(self, variation: Variation | None) -> str:
        """What a take done in that way teaches."""
        return self.task if variation is None or variation.task is None else variation.task

    @property
    def asks_for_hands(self) -> bool:
        """Whether any step wants bare hands in view."""
        return any(step.must.hands_in_view for step in self.steps)


def read_card(path: Path) -> TaskCard:
    """A task card.

    Raises:
        TaskError: the file or its photo is missing or is none; names the key and its line.
    """
    path = Path(path)
    data = _bytes(path, _LARGEST_FILE, "a task card")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError("is not a text in UTF-8", where=path, mend=f"save it as UTF-8; {_MEND}") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is a plain ValueError
        raise TaskError(f"is not TOML: {error}", where=path, mend=_MEND) from error
    try:
        card = _Card.model_validate(values)
    except ValidationError as error:
        raise _said_plainly(error, text, path) from error
    return TaskCard(
        id=card.id,
        sha256=sha256(data).hexdigest(),
        text=text,
        title=card.title,
        task=card.task or card.title.en,
        good_takes=card.good_takes,
        length_s=card.length_s,
        practice_takes=card.practice_takes,
        props=tuple(card.props),
        start=card.start,
        photo=None if card.start is None or card.start.photo is None else _photo(path, card.start.photo, text),
        reset=card.reset,
        leave_alone=tuple(card.leave_alone),
        steps=tuple(card.steps),
        variations=tuple(card.variations),
    )


def _bytes(path: Path, most: int, kind: str) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise TaskError("is not a file", where=path, mend=f"give {kind}")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise TaskError("no such file", where=path, mend="check the path") from error
    except OSError as error:
        raise TaskError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error
    if len(data) > most:
        raise TaskError(f"too large to be {kind}", where=path, mend=f"give one of at most {most >> 10} KB")
    return data


def _photo(card: Path, name: str, text: str) -> Path:
    """The photo's path; it must not lead out of the card's folder, by no link either."""
    where = f"{card}, line {_line(text, ('start', 'photo'))}"
    folder = card.parent.resolve()
    path = card.parent / name
    try:
        inside = "\0" not in name and not Path(name).is_absolute() and path.resolve().is_relative_to(folder)
        found = inside and path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, links in a circle
        what = f"start.photo: {name[:80]!r} cannot be looked for"
        raise TaskError(what, where=where, mend="copy the picture beside the card and name it there") from error
    if not inside:
        what = f"start.photo: {name!r} lies outside the card's folder"
        raise TaskError(what, where=where, mend="copy the picture beside the card and name it there")
    if not found:
        what = f"start.photo: there is no {name!r} beside the card"
        raise TaskError(what, where=where, mend="copy the picture there, or take the key out")
    if not _bytes(path, _LARGEST_PHOTO, "a photo").startswith(_BEGINNINGS):
        raise TaskError(f"start.photo: {name!r} is no JPEG or PNG", where=where, mend="save the picture as JPEG or PNG")
    return path


_PLAIN = {
    "missing": "is missing",
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "list_type": "must be a list",
    "tuple_type": "must be a pair of numbers, [least, most]",
    "too_long": "must be a pair of numbers, [least, most]",
    "model_type": "must be a table",
    "string_pattern_mismatch": "must be lower-case letters, digits and underscores",
    "literal_error": 'must be "left" or "right"',
}


def _said_plainly(error: ValidationError, text: str, path: Path) -> TaskError:
    first = error.errors()[0]
    loc: tuple[str | int, ...] = first["loc"]
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    kind = first["type"]
    if kind == "extra_forbidden":
        what = "is not a key of a task card"
    elif kind == "value_error":
        what = str(first.get("ctx", {}).get("error", first["msg"]))
    elif kind == "missing" and isinstance(loc[-1], int):
        what = _PLAIN["tuple_type"]
    else:
        what = _PLAIN.get(kind, first["msg"])
    if kind == "too_long" and loc[-1] in ("steps", "variations"):
        what = first["msg"]
    line = _line(text, loc)
    where = f"{path}, line {line}" if line else str(path)
    return TaskError(f"{key}: {what}" if key else what, where=where, mend=_MEND)


_HEADER = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.\" -]+?)\s*\]\]?\s*(#.*)?$")


def _line(text: str, loc: tuple[str | int, ...]) -> int | None:
    """Where a key stands, or else its table; None where neither is found, as in a missing key at the top.

    tomllib keeps no lines. Written for cards as people write them; of others a table's first line is named.
    """
    best: tuple[int, int | None] = (0, None)
    here: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header is not None:
            here = ()
            for part in header[1].split("."):
                here = (*here, part.strip(' "'))
                if here in counts and not line.lstrip().startswith("[["):
                    here = (*here, counts[here])
            if line.lstrip().startswith("[["):
                counts[here] = counts.get(here, -1) + 1
                here = (*here, counts[here])
            at = here
        else:
            key = re.match(r"^\s*([A-Za-z0-9_.\"-]+)\s*=", line)
            if key is None:
                continue
            at = (*here, *(part.strip('" ') for part in key[1].split(".")))
        if at == loc[: len(at)] and len(at) > best[0]:
            best = len(at), number
    return best[1]
