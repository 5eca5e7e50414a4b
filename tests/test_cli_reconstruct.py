"""`handcap reconstruct` on the command line: verdicts, causes, exit codes; the stage itself is replaced."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import handcap.reconstruct
import handcap.session
from handcap.causes import Cause
from handcap.cli.app import main
from handcap.errors import HandcapError, RigError


@dataclass
class Result:
    take: str
    verdict: str
    causes: tuple[Cause, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    error: HandcapError | None = None


GOOD = Result(
    "0001",
    "ok",
    report={"time_offset_s": {"head": 0.0081}, "time_offset_sigma_s": {"head": 0.0001}, "spans_ok_s": [[0.0, 9.2]]},
    outputs=(Path("s/derived/0001/reconstruct/head.parquet"),),
)
STILL = Result("0002", "refused", (Cause("no_motion", measured=0.017, limit=0.1),))


def run(monkeypatch, capfd, results, *options):
    monkeypatch.setattr(handcap.reconstruct, "run_session", lambda *a, **k: results, raising=False)
    monkeypatch.setattr(handcap.session, "read", lambda path: SimpleNamespace(erased={}))
    with pytest.raises(SystemExit) as caught:
        main(["reconstruct", "s", *options])
    return caught.value.code, *capfd.readouterr()


def test_one_good_take_is_enough_for_exit_0(monkeypatch, capfd):
    code, out, _ = run(monkeypatch, capfd, [GOOD, STILL])
    assert code == 0
    assert "0001: ok" in out and "8.10 ± 0.10 ms" in out and "0.0–9.2 s" in out
    assert "0002: refused" in out and STILL.causes[0].text() in out and f"→ {STILL.causes[0].mend()}" in out


def test_only_refused_takes_exit_1_and_the_error_carries_the_first_cause(monkeypatch, capfd):
    code, out, err = run(monkeypatch, capfd, [STILL])
    assert code == 1 and "0002: refused" in out and "no take could be reconstructed" in err


def test_a_cause_is_said_once_to_a_person_and_stands_in_the_error_for_a_program(monkeypatch, capfd):
    _, out, err = run(monkeypatch, capfd, [STILL])
    assert (out + err).count(STILL.causes[0].text()) == (out + err).count(STILL.causes[0].mend()) == 1
    _, out, _ = run(monkeypatch, capfd, [STILL], "--json")
    assert STILL.causes[0].text() in json.loads(out)["error"]["what"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "written to s/derived/0001/reconstruct; next: handcap review s\n"),
        (("--field",), "written to s/derived/0001/reconstruct; next: handcap reconstruct s\n"),
        (("--lang", "zh"), "结果在 s/derived/0001/reconstruct;下一步:handcap review s\n"),
    ],
)
def test_the_last_line_says_where_the_results_are_and_what_comes_next(monkeypatch, capfd, options, words):
    _, out, _ = run(monkeypatch, capfd, [GOOD], *options)
    assert out.endswith(words)
    _, out, _ = run(monkeypatch, capfd, [STILL], *options)
    assert "handcap re" not in out


def test_verdicts_and_causes_speak_chinese(monkeypatch, capfd):
    _, out, err = run(monkeypatch, capfd, [STILL], "--lang", "zh")
    assert "0002: 不合格" in out and STILL.causes[0].text("zh") in out and "没有可重建的录制" in err


@pytest.mark.parametrize(("results", "ok"), [([GOOD, STILL], True), ([STILL], False)])
def test_json_lists_takes_outputs_and_causes(monkeypatch, capfd, results, ok):
    code, out, _ = run(monkeypatch, capfd, results, "--json")
    answer = json.loads(out)
    assert answer["ok"] is ok and code == (0 if ok else 1) and ("error" in answer) is not ok
    assert answer["summary"]["takes"]["0002"] == "refused"
    assert answer["summary"]["causes"]["0002"][0]["code"] == "no_motion"
    assert answer["outputs"] == [str(p) for r in results for p in r.outputs]


def test_a_take_that_could_not_be_tried_says_why_beside_the_good_ones(monkeypatch, capfd):
    error = RigError("other pictures", where="s", mend="give another --rig")
    told = {"code": "not_tried", "text": error.what, "mend": error.mend}
    size = Result("0002", "refused", report={"causes": [told]}, error=error)
    code, out, _ = run(monkeypatch, capfd, [GOOD, size])
    assert code == 0 and "0002: refused\n  other pictures\n    → give another --rig" in out
    code, out, _ = run(monkeypatch, capfd, [GOOD, size], "--json")
    assert json.loads(out)["summary"]["errors"] == {"0002": error.as_dict()}


def test_a_field_pass_with_hands_is_no_wish_that_can_be_granted(monkeypatch, capfd):
    code, _, err = run(monkeypatch, capfd, [GOOD], "--field", "--hands")
    assert code == 1 and "--field or --hands" in err


def test_a_bare_hand_has_a_line_with_its_verdict_and_what_to_do(monkeypatch, capfd):
    lost = Cause("hand_lost", "left_hand", (2.0, 6.5), 4.5, 2.0)
    never = Cause("hand_never_seen", "right_hand")
    bodies = {
        "left_hand": {
            "verdict": "partial",
            "causes": [lost.as_dict()],
            "numbers": {"seen": 0.62, "two_views": 0.5},
        },
        "right_hand": {
            "verdict": "refused",
            "causes": [never.as_dict()],
            "numbers": {"seen": 0.0, "two_views": 0.0},
        },
    }
    result = Result("0001", "ok", report={"bodies": bodies})
    code, out, _ = run(monkeypatch, capfd, [result])
    assert code == 0 and "0001: ok" in out
    assert "left hand: partly ok; seen 62 % of the time" in out and lost.text() in out and lost.mend() in out
    assert "right hand: refused\n" in out and never.text() in out
    _, out, _ = run(monkeypatch, capfd, [result], "--lang", "zh")
    assert "左手:部分合格" in out and lost.text("zh") in out and never.mend("zh") in out
