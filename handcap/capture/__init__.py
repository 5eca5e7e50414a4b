"""Devices to session, live: everything that is plugged in is recorded, and each take is judged at once."""

from handcap.capture.live import Capture, CaptureParams, Ended
from handcap.capture.setup import capture_meta, default_folder, find_rig
from handcap.capture.verdict import SpotParams, SpotVerdict, judge
from handcap.capture.virtual import VirtualRig, virtual_rig

__all__ = [
    "Capture",
    "CaptureParams",
    "Ended",
    "SpotParams",
    "SpotVerdict",
    "VirtualRig",
    "capture_meta",
    "default_folder",
    "find_rig",
    "judge",
    "virtual_rig",
]
