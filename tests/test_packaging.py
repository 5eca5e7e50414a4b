"""The project can be installed, and its lock and settings are what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions

import pytest


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "handcap"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "pyproject.toml", "README.md", "handcap"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (repository / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((repository / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    subprocess.run(build, capture_output=True, check=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_the_data_they_read(wheel, repository):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(repository)) for p in (repository / "handcap").rglob("*.py")}
    assert modules <= inside and {"handcap/causes.toml", "handcap/py.typed"} <= inside
    assert not [name for name in inside if name.startswith(("tests", "tools", "bench"))]


def test_the_installed_wheel_runs_from_anywhere(wheel, tmp_path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(pip, capture_output=True, check=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop()); import handcap; print(handcap.__file__)\n"
        "from handcap.causes import catalogue; catalogue()\nfrom handcap.cli.app import main; main(['--help'])"
    )
    command = [sys.executable, "-c", code, target]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(target) in done.stdout and "import" in done.stdout


def test_exactly_one_opencv_is_installed():
    names = [(d.metadata["Name"] or "").lower() for d in distributions()]
    assert [name for name in names if name.startswith("opencv")] == ["opencv-contrib-python"]


def test_the_lock_pins_with_hashes_and_names_no_address(repository):
    lock = (repository / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^([a-z0-9][a-z0-9_.-]*)==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z0-9][a-z0-9_.-]*(==|>|<| @)", lock, re.MULTILINE)) > 20
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {re.split(r"[^a-z0-9-]", name)[0] for name in wanted} <= set(pins)


def test_no_address_lock_is_committed(repository):
    assert not [name for name in ("uv.lock", "pylock.toml") if (repository / name).exists()]


def test_the_readme_begins_with_the_apt_line_that_the_system_check_asks_for(repository):
    readme = (repository / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line and not line.startswith("#"))
    wanted = re.findall(
        r"=([a-z0-9.-]+)", re.search(r'wanted="([^"]*)"', (repository / "tools/check_system.sh").read_text())[1]
    )
    assert len(wanted) == 8 and {*wanted, "git", "make", "python3-venv"} <= set(line.split())


def test_every_verb_the_readme_names_exists(repository):
    from handcap.cli.app import app

    named = set(
        re.findall(r"^ *(?:\.venv/bin/)?handcap ([a-z]+)", (repository / "README.md").read_text(), re.MULTILINE)
    )
    there = {c.name for c in app.registered_commands} | {g.name for g in app.registered_groups}
    assert named and named <= there


def test_setup_does_nothing_when_the_lock_was_installed_already(repository, tmp_path):
    import hashlib
    import shutil

    for name in ("tools", "requirements.lock", "pyproject.toml"):
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    both = (tmp_path / "requirements.lock").read_bytes() + (tmp_path / "pyproject.toml").read_bytes()
    (tmp_path / ".venv" / "handcap-setup").write_text(hashlib.sha256(both).hexdigest() + "\n")
    done = subprocess.run([tmp_path / "tools" / "setup.sh"], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
