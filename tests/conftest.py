"""What every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
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
def mh01_session(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vio/euroc_mh01_head` imported and reconstructed; nobody may change it, so copy before writing into it."""
    from handcap.formats.euroc import import_euroc
    from handcap.reconstruct import run_session

    folder = tmp_path_factory.mktemp("mh01") / "session"
    import_euroc(shared_data("vio/euroc_mh01_head"), folder)
    run_session(folder)
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """What `handcap demo --json` leaves in its folder, and what it said; nobody may change it.

    A full rig in a kitchen for ten seconds: the one long take of the virtual rig that all tests share.
    """
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-c", "from handcap.cli.app import main; main()", "demo", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return folder / "demo", done
