"""What `handcap capture` records from: what is plugged in, or the virtual rig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handcap.cli.progress import progress

if TYPE_CHECKING:
    from handcap.capture.cameras import CameraAt
    from handcap.devices import Board
    from handcap.types import Rig


@dataclass(frozen=True, eq=False, slots=True)
class Plugged:
    """A rig that is there.

    Attributes:
        boards: open, by device of the rig, and nodes under other names.
        cameras: that are opened here; the others come from nodes.
    """

    rig: Rig
    boards: Mapping[str, Board]
    cameras: Mapping[str, CameraAt]


def plugged_rig(held: ExitStack, rig: Path | None, nodes: Sequence[str], cameras: Sequence[str]) -> Plugged:
    """Open everything that is plugged in, and the nodes and cameras that were named, until `held` is left.

    Raises:
        DeviceError: something is missing, or it is not told which rig it is.
        RigError: the calibration cannot be used.
    """
    from handcap import session as session_store
    from handcap.capture import find_cameras, find_rig, parse_cameras
    from handcap.devices import boards as plugged_in
    from handcap.devices import open_board

    found = [held.enter_context(open_board(port.name)) for port in plugged_in()]
    opened = {f"node{k}": held.enter_context(open_board(name)) for k, name in enumerate(nodes)}
    known, boards = find_rig(found, None if rig is None else session_store.read_rig(rig))
    return Plugged(known, {**boards, **opened}, find_cameras(known, parse_cameras(cameras)))


BY_KEYS_S = 20.0  # a virtual take whose end nobody has set goes on for so long


def virtual_rig(
    held: ExitStack, takes: int | None, seconds: float, seed: int, play: Path | None, as_json: bool
) -> Plugged:
    """Render takes, or take those of `play` again and again, and play them until `held` is left.

    Args:
        takes: that will be recorded, each so many `seconds` long; None: a key ends each, and two are played in turn.

    Raises:
        DeviceError: it does not start.
    """
    from handcap.capture import virtual_rig as played
    from handcap.devices import open_board

    if takes is None:
        takes, seconds = 2, BY_KEYS_S
    with progress(as_json) as on_progress:
        live = held.enter_context(played(takes, seconds, seed, on_progress, play, loop=play is not None))
    boards = {name: held.enter_context(open_board(port)) for name, port in live.ports.items()}
    return Plugged(live.rig(boards), boards, {})
