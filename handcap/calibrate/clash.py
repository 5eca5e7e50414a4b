"""A board whose markers are on the gripper too: its camera sees both, and takes one for the other."""

from __future__ import annotations

from collections.abc import Sequence

from handcap.boards import Board, CharucoBoard, board_text
from handcap.errors import CalibrationError
from handcap.types import Rig


def require_own_markers(board: Board, rig: Rig, cameras: Sequence[str]) -> None:
    """Refuse a ChArUco board that shares markers with the tags before one of these cameras.

    On the virtual rig a board of the fingers' family before a gripper's camera lost a third of its corners and led to
    refusals that spoke of clocks and sizes.

    Args:
        board: that is looked at.
        rig: whose grippers carry tags.
        cameras: names; only a gripper's own camera has its fingers in every picture.

    Raises:
        CalibrationError: names the markers, and what to use instead.
    """
    if not isinstance(board, CharucoBoard):
        return
    markers = board.columns * board.rows // 2
    for side, gripper in rig.grippers.items():
        if not any(rig.cameras[name].device == side for name in cameras if name in rig.cameras):
            continue
        shared = sorted(tag.id for tag in gripper.tags if tag.family == board.family and tag.id < markers)
        if shared:
            raise CalibrationError(
                f"its markers {', '.join(map(str, shared))} are on the {side} gripper's fingers too",
                where=f"board {board_text(board)}",
                mend="use a board of another family (add :5x5_100 to its name and print it), or an AprilGrid",
            )
