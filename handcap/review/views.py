"""One picture of what every camera of a rig saw at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from handcap.errors import ReviewError
from handcap.review.canvas import Canvas
from handcap.session import Session

_TILE, _GAP, _NAME = (560, 420), 20, 40  # px


def draw_views(session: Session, take_id: str, out: Path) -> None:
    """Write a PNG with a picture of each camera from the middle of a take, side by side, named.

    Args:
        session: read.
        take_id: which take.
        out: file to write.

    Raises:
        ReviewError: no camera has a picture that decodes, or the file cannot be written.
    """
    take = session.take(take_id)
    names = [name for name in session.rig.cameras if name in take.cameras]
    stamps = {name: take.camera_stamps(name) for name in names}
    middles = [int(t_ns[len(t_ns) // 2]) for t_ns in stamps.values() if len(t_ns)]
    views = {name: view for name in names if (view := _picture(take, name, int(np.median(middles)))) is not None}
    if not views:
        raise ReviewError("no picture decodes", where=session.path, mend="record the take again")
    columns = min(len(views), 2)
    rows = -(-len(views) // columns)
    canvas = Canvas(_GAP + columns * (_TILE[0] + _GAP), _GAP + rows * (_TILE[1] + _NAME + _GAP))
    for k, (name, view) in enumerate(views.items()):
        x, y = _GAP + k % columns * (_TILE[0] + _GAP), _GAP + k // columns * (_TILE[1] + _NAME + _GAP)
        canvas.text(name, (x, y + 26), 22)
        canvas.image(view, (x, y + _NAME, x + _TILE[0], y + _NAME + _TILE[1]))
    canvas.write(out)


def _picture(take: Any, camera: str, t_ns: int) -> Any:
    """The first picture (h, w, 3) at or after a stamp, or the last one; None if none decodes."""
    last = None
    for frame in take.frames(camera, grey=False):
        last = frame.image
        if frame.t_ns >= t_ns:
            break
    return last
