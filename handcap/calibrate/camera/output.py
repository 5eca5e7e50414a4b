"""Parts and pages of cameras, written."""

from __future__ import annotations

from pathlib import Path

from handcap.calibrate.camera.page import camera_page, stereo_page
from handcap.calibrate.camera.step import CameraResult
from handcap.calibrate.camera.stereo import StereoResult
from handcap.calibrate.part import write_part
from handcap.causes import Language


def write_camera(folder: Path, result: CameraResult, lang: Language = "en") -> list[Path]:
    """`camera-<name>.json` and `.html` in a folder. Raises SessionError where they cannot be written."""
    return [*write_part(folder, result.part, camera_page(result, lang))]


def write_stereo(folder: Path, result: StereoResult, lang: Language = "en") -> list[Path]:
    """The parts of both cameras and of the pair. Raises SessionError where they cannot be written."""
    written = [path for camera in result.cameras for path in write_camera(folder, camera, lang)]
    return written + [*write_part(folder, result.pair, stereo_page(result, lang))]
