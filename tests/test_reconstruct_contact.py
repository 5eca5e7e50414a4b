"""The guess of what a gripper holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from handcap.geometry import Array
from handcap.reconstruct.contact import guess_contact


def _guess(mm: list[float], sigma_mm: float = 0.05) -> list[float | None]:
    width = np.array(mm) / 1e3
    said = guess_contact(width, np.full(len(width), sigma_mm / 1e3))
    return [None if np.isnan(x) else float(x) for x in said]


def test_jaws_that_close_and_stop_hold_something_until_they_open() -> None:
    assert _guess([80, 80, 70, 60, 55, 55, 55, 56.5, 60, 80]) == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_a_pause_on_the_way_is_no_hold() -> None:
    assert _guess([80, 70, 70, 70, 60, 55, 55]) == [0, 0, 0, 0, 0, 1, 1]


def test_before_the_jaws_first_move_nobody_knows() -> None:
    assert _guess([30, 30, 30]) == [None, None, None]
    assert _guess([30, 30, 40, 50])[0] is None or _guess([30, 30, 40, 50])[0] == 0
    assert _guess([30, 30, 30, 45, 50])[-1] == 0


def test_shut_jaws_hold_nothing_or_something_thin() -> None:
    assert _guess([50, 30, 10, 1, 0.5, 0.5, 20]) == [0, 0, 0, None, None, None, 0]


def test_a_trembling_hand_neither_opens_nor_closes() -> None:
    rng = np.random.default_rng(0)
    mm = 55 + rng.normal(0, 0.3, 200)
    assert set(_guess(list(mm), 0.3)) == {None}


@given(st.lists(st.one_of(st.floats(0, 100), st.none()), max_size=60))
def test_unseen_jaws_are_never_guessed_at(mm: list[float | None]) -> None:
    width = np.array([np.nan if x is None else x / 1e3 for x in mm])
    said = guess_contact(width, np.full(len(width), 1e-4))
    assert len(said) == len(width)
    assert np.isnan(said[np.isnan(width)]).all()
    assert set(said[np.isfinite(said)]) <= {0.0, 1.0}


def test_the_virtual_grippers_are_guessed_to_hold_what_they_hold(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    session = demo[0] / "session"
    events = json.loads((session / "truth/truth.json").read_text())["events"]
    told = right = 0
    for side in ("left", "right"):
        table = pq.read_table(session / f"derived/0001/reconstruct/{side}_tcp.parquet")
        t_ns = table["t_ns"].to_numpy()
        guess: Array = table["contact_guess"].to_numpy(zero_copy_only=False).astype(float)
        held = np.zeros(len(t_ns))
        for event in events:
            if event["device"] == side and event["kind"] in ("grasp", "release"):
                held[t_ns >= event["t_ns"]] = event["kind"] == "grasp"
        known = np.isfinite(guess)
        told += int(known.sum())
        right += int(np.sum(guess[known] == held[known]))
    assert told > 50
    assert right >= 0.95 * told
