"""Pictures of a board become a lens, or two lenses and where they sit; with intervals, a verdict and its causes."""

from handcap.calibrate.camera.coverage import Coverage, CoverageGuide, Wish
from handcap.calibrate.camera.output import write_camera, write_stereo
from handcap.calibrate.camera.sources import Source, open_pair, open_source
from handcap.calibrate.camera.step import CameraParams, CameraResult, calibrate_camera
from handcap.calibrate.camera.stereo import StereoResult, calibrate_stereo

__all__ = [
    "CameraParams",
    "CameraResult",
    "Coverage",
    "CoverageGuide",
    "Source",
    "StereoResult",
    "Wish",
    "calibrate_camera",
    "calibrate_stereo",
    "open_pair",
    "open_source",
    "write_camera",
    "write_stereo",
]
