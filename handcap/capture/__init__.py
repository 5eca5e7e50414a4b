"""Devices to session, live: everything that is plugged in is recorded, and each take is judged at once."""

from handcap.capture.cameras import CameraAt, find_cameras, parse_cameras
from handcap.capture.live import Capture, CaptureParams, Ended
from handcap.capture.setup import capture_meta, default_folder, find_rig
from handcap.capture.verdict import SpotParams, SpotVerdict, judge
from handcap.capture.virtual import VirtualRig, virtual_rig

__all__ = [
    "CameraAt",
    "Capture",
    "CaptureParams",
    "Ended",
    "SpotParams",
    "SpotVerdict",
    "VirtualRig",
    "capture_meta",
    "default_folder",
    "find_cameras",
    "find_rig",
    "judge",
    "parse_cameras",
    "virtual_rig",
]
