"""Ids of consent forms: what stands for the agreement of everybody who can be seen, and says nothing about them."""

from __future__ import annotations

import re

from handcap.errors import UsageError

NONE = "none"
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|[-_.](?=[A-Za-z0-9])){2,39}")
_TELLING_DIGITS = re.compile(r"[0-9]{10}")  # a phone's number, an identity card's
_MEND = "give the number printed on the form, letters and digits of each, as in C-2026-0042"


def require_consent(consent: str | None, *, no_consent: bool, virtual: bool) -> str:
    """What the session keeps: the id, or "none" where nobody was asked.

    Raises:
        UsageError: neither was said, or both, or the id may tell who somebody is.
    """
    if consent is None:
        if no_consent or virtual:  # nobody real is seen
            return NONE
        mend = "give --consent ID, or --no-consent in your own lab (kept in the session and marked in every export)"
        raise UsageError("nobody's consent is named", mend=mend)
    if no_consent:
        raise UsageError("--consent and --no-consent contradict each other", mend="give one of them")
    if consent.lower() == NONE:
        raise UsageError("'none' is no id of a consent form", mend="give --no-consent if nobody was asked")
    if _ID.fullmatch(consent) is None:
        what = f"{consent!r} is no id of a consent form: 3 to 40 letters, digits and single - _ . between them"
        raise UsageError(what, mend=_MEND)
    if not (re.search("[0-9]", consent) and re.search("[A-Za-z]", consent)) or _TELLING_DIGITS.search(consent):
        what = f"{consent!r} may be a name or a number that tells who somebody is; nothing personal is kept"
        raise UsageError(what, mend=_MEND)
    return consent
