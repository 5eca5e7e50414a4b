"""What every test may use."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from camera_node import jpegs, node_folder, node_program, plain_node  # noqa: F401 - fixtures
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# Two slow cores and cold numba caches: a time limit per example would only measure the machine.
settings.register_profile("handcap", deadline=None, derandomize=True)
settings.load_profile("handcap")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("vio/euroc_mh01_head")`: a public recording's folder, read only.

    Looked for in $HANDCAP_DATA, then in ../shared/data beside the repository. The test is skipped where neither has
    it, and fails instead when $CI is set.
    """
    roots = [Path(os.environ["HANDCAP_DATA"])] if os.environ.get("HANDCAP_DATA") else []
    roots.append(REPOSITORY.parent / "shared" / "data")

    def find(relative_path: str) -> Path:
        for root in roots:
            if (root / relative_path).exists():
                return root / relative_path
        reason = f"no {relative_path} in {' or '.join(str(root) for root in roots)}; set HANDCAP_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return find


@pytest.fixture
def robot_collections(shared_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptions of robots that no package index has are found in the shared data."""
    from handcap.retarget import robot

    monkeypatch.setattr(robot, "collections_folder", lambda: shared_data("robots"))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once("name", make)`: a folder that `make` filled, one for all processes that run tests beside each other."""
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def mh01_session(shared_data: Callable[[str], Path], once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """`vio/euroc_mh01_head` imported and reconstructed; nobody may change it, so copy before writing into it."""
    from handcap.formats.euroc import import_euroc
    from handcap.reconstruct import run_session

    def make(folder: Path) -> None:
        import_euroc(shared_data("vio/euroc_mh01_head"), folder / "session")
        run_session(folder / "session")

    return once("mh01", make) / "session"


@pytest.fixture(scope="session")
def demo(once: Callable[[str, Callable[[Path], object]], Path]) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What `handcap demo --json` leaves in its folder, and what it said; nobody may change it.

    A full rig in a kitchen for ten seconds: the one long take of the virtual rig that all tests share.
    """
    command = [sys.executable, "-c", "from handcap.cli.app import main; main()", "demo", "--json"]

    def make(folder: Path) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        (folder / "said.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))

    folder = once("demo", make)
    code, out, err = json.loads((folder / "said.json").read_text())
    return folder / "demo", subprocess.CompletedProcess(command, code, out, err)
