"""The command line: exit codes, one JSON object, quick help."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from asl_folder import AslFolder

HEAVY = ("cv2", "open3d", "gtsam", "pycolmap", "rerun", "av", "pyarrow", "numba", "scipy", "pydantic", "matplotlib")


def handcap(*arguments, **options):
    command = [sys.executable, "-m", "handcap.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture
def asl(tmp_path):
    return AslFolder(tmp_path / "recording")


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom handcap.cli.app import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "reconstruct" in done.stdout and done.stderr.strip() == "[]"
    fastest = min(_seconds_of_help() for _ in range(3))
    assert fastest < 0.5, f"handcap --help took {fastest:.2f} s"


def _seconds_of_help():
    started = time.perf_counter()
    assert handcap("--help").returncode == 0
    return time.perf_counter() - started


def test_the_version_is_printed():
    assert handcap("--version").stdout.startswith("handcap ")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["import", "nonsense"], ["recover"], ["recover", "x", "--lang", "xx"]]
)
def test_wrong_usage_exits_2_and_says_how_to_get_help(arguments):
    done = handcap(*arguments)
    assert done.returncode == 2 and "handcap" in done.stderr and done.stdout == ""


def test_wrong_usage_in_json_is_one_object():
    done = handcap("recover", "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["ok"] is False and "help" in answer["error"]["mend"]


def test_an_import_prints_what_came_in_and_the_next_command(asl, tmp_path):
    done = handcap("import", "euroc", asl.root, tmp_path / "out")
    assert done.returncode == 0 and done.stderr == ""
    assert "40 pictures" in done.stdout and f"handcap reconstruct {tmp_path / 'out'}" in done.stdout


def test_an_import_in_json_prints_one_object(asl, tmp_path):
    asl.picture_path(2).write_bytes(b"no picture")
    done = handcap("import", "euroc", asl.root, tmp_path / "out", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["ok"] is True and answer["outputs"] == [str(tmp_path / "out")]
    assert answer["summary"]["takes"] == {"0001": "ok"}
    assert answer["summary"]["import"]["findings"][0]["code"] == "undecodable_pictures"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_refusal_exits_1_with_where_what_and_mend(tmp_path, as_json):
    done = handcap("import", "euroc", tmp_path / "nothing", tmp_path / "out", *["--json"] * as_json)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    if as_json:
        assert set(json.loads(done.stdout)["error"]) == {"where", "what", "mend"} and done.stderr == ""
    else:
        assert "nothing: does not exist" in done.stderr and "→" in done.stderr and "Traceback" not in done.stderr


def test_findings_come_in_chinese_on_any_terminal(asl, tmp_path):
    asl.picture_path(2).write_bytes(b"no picture")
    arguments = ["import", "euroc", asl.root, tmp_path / "out", "--lang", "zh"]
    done = handcap(*arguments, env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"})
    assert done.returncode == 0 and "\\u" in done.stdout
    assert "无法解码" in handcap(*arguments[:3], tmp_path / "again", "--lang", "zh", env={"PYTHONUTF8": "1"}).stdout


def test_a_whole_session_needs_no_recovery(asl, tmp_path):
    handcap("import", "euroc", asl.root, tmp_path / "out")
    done = handcap("recover", tmp_path / "out", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["summary"]["takes"] == {}


@pytest.mark.parametrize("verb", ["reconstruct", "recover"])
def test_a_folder_that_is_no_session_is_refused_by_name(tmp_path, verb):
    done = handcap(verb, tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["ok"] is False and str(tmp_path) in answer["error"]["where"]


def test_what_libraries_print_does_not_reach_the_json_reader():
    code = (
        "import os\nfrom handcap.cli.outcome import print_json, stdout_for_json\n"
        "with stdout_for_json(True):\n"
        "    print('chatter from Python')\n"
        "    os.write(1, b'chatter from C')\n"
        "    print_json({'ok': True})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"ok": True} and done.stderr.count("chatter") == 2


def test_a_keyboard_interrupt_exits_130_without_a_traceback(monkeypatch, capsys):
    import handcap.session
    from handcap.cli.app import main

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(handcap.session, "recover", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["recover", "anything"])
    assert caught.value.code == 130 and "interrupted" in capsys.readouterr().err
