"""Every cause can be said in every language, with its numbers filled in."""

from __future__ import annotations

import re
import string

import pytest

from handcap.causes import LANGUAGES, Cause, Language, catalogue

CODES = sorted(catalogue())


@pytest.mark.parametrize("code", CODES)
def test_a_cause_has_a_sentence_and_a_mend_in_every_language(code: str) -> None:
    entry = catalogue()[code]
    assert set(entry) <= {"unit", *LANGUAGES, *(f"mend_{lang}" for lang in LANGUAGES)}
    for lang in LANGUAGES:
        assert entry[lang].strip() and entry[f"mend_{lang}"].strip()
        chinese = re.search(r"[\u4e00-\u9fff]", entry[lang])
        assert bool(chinese) == (lang == "zh"), entry[lang]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_cause_formats_without_leftovers(code: str, lang: Language) -> None:
    cause = Cause(code, body="head", span_s=(1.0, 2.5), measured=0.123456, limit=40.0)
    for sentence in (cause.text(lang), cause.mend(lang)):
        assert "{" not in sentence and "}" not in sentence and "None" not in sentence


@pytest.mark.parametrize("code", CODES)
def test_both_languages_tell_the_same_numbers(code: str) -> None:
    def numbers(sentence: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}

    entry = catalogue()[code]
    assert numbers(entry["en"]) == numbers(entry["zh"])
    assert numbers(entry["mend_en"]) == numbers(entry["mend_zh"])
    assert numbers(entry["en"]) <= {"body", "measured", "limit", "start", "end"}


def test_numbers_are_rounded_for_people_and_kept_for_machines() -> None:
    cause = Cause("too_short", measured=1.23456789, limit=3.0)
    assert "1.23 s" in cause.text("en") and "3 s" in cause.text("en")
    told = cause.as_dict("zh")
    assert told["measured"] == 1.23456789 and told["unit"] == "s" and told["code"] == "too_short"
    assert set(told) == {"code", "body", "span_s", "measured", "limit", "unit", "text", "mend"}


def test_a_code_outside_the_catalogue_cannot_be_raised() -> None:
    with pytest.raises(AssertionError, match="not_a_cause"):
        Cause("not_a_cause")


def test_a_camera_is_called_by_what_it_is() -> None:
    cause = Cause("mount_moved", "left", measured=2.0, limit=0.3)
    assert "the left gripper's camera points 2°" in cause.text("en") and cause.text("zh").startswith("左夹爪相机的朝向")
