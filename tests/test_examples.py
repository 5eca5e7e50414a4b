"""Every example runs on a real recording and imports nothing private."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handcap.session import read


def _run(repository: Path, name: str, *arguments: Path) -> str:
    command = [sys.executable, str(repository / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_and_reconstructing(repository: Path, shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    # A recording at rest: refused within seconds, and the example says why.
    said = _run(repository, "01_reconstruct_a_recording.py", shared_data("vio/euroc_V101_micro_kimera"), tmp_path / "s")
    assert "take 0001: refused" in said
    assert read(tmp_path / "s").takes == ("0001",)


def test_exporting_and_comparing(
    repository: Path, shared_data: Callable[[str], Path], mh01_session: Path, tmp_path: Path
) -> None:
    truth = shared_data("vio/euroc_mh01_head") / "groundtruth_tum.txt"
    said = _run(repository, "02_export_and_compare.py", mh01_session, tmp_path / "out", truth)
    match = re.search(r"position error ([\d.]+) mm", said)
    assert match
    assert float(match[1]) < 8.0
    assert (tmp_path / "out/tum/0001_head.txt").exists()


@pytest.mark.parametrize("name", ["01_reconstruct_a_recording.py", "02_export_and_compare.py"])
def test_examples_import_only_public_names(repository: Path, name: str) -> None:
    text = (repository / "examples" / name).read_text()
    imported = re.findall(r"^from (handcap[\w.]*) import (.+)$", text, re.M)
    assert imported
    for module, names in imported:
        found = __import__(module, fromlist=["__all__"])
        for each in names.split(", "):
            assert not each.startswith("_")
            assert hasattr(found, each) or each == "session"
