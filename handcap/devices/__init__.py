"""What is plugged in: serial boards, camera nodes on the network, V4L2 cameras (docs/wire.md).

with devices.open_board("/dev/ttyACM0") as board:
    board.stream(True)
    for message in board.messages():
        ...
"""

from handcap.devices.board import Board, BoardParams, Event
from handcap.devices.clock_fit import ClockEstimate, Exchange, FitParams, fit_line
from handcap.devices.clock_tracker import ClockSegment, ClockTracker, TrackerParams, fit_recording
from handcap.devices.discovery import FoundCamera, FoundPort, boards, cameras
from handcap.devices.inbox import Message
from handcap.devices.losses import Losses
from handcap.devices.opening import open_board
from handcap.devices.v4l2_formats import FoundFormat, formats
from handcap.devices.video_source import Asked, VideoSource, video_source

__all__ = [
    "Asked",
    "Board",
    "BoardParams",
    "ClockEstimate",
    "ClockSegment",
    "ClockTracker",
    "Event",
    "Exchange",
    "FitParams",
    "FoundCamera",
    "FoundFormat",
    "FoundPort",
    "Losses",
    "Message",
    "TrackerParams",
    "VideoSource",
    "boards",
    "cameras",
    "fit_line",
    "fit_recording",
    "formats",
    "open_board",
    "video_source",
]
