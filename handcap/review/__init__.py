"""Replays of takes in Rerun: video, path, uncertainty, sensors, residuals and verdict on one time line.

`write_replay` writes a recording; `open_viewer` and `serve` show one.
"""

from handcap.review.replay import ReplayParams, find_takes, write_replay
from handcap.review.still import draw_still
from handcap.review.viewer import open_viewer, require_display, serve
from handcap.review.views import draw_views
from handcap.review.words import spoken_verdict, verdict

__all__ = [
    "ReplayParams",
    "draw_still",
    "draw_views",
    "find_takes",
    "open_viewer",
    "require_display",
    "serve",
    "spoken_verdict",
    "verdict",
    "write_replay",
]
