"""Boards by name."""

from __future__ import annotations

from handcap.devices import discovery
from handcap.devices.board import Board, BoardParams
from handcap.errors import DeviceError

HELLO_S = 3.0


def open_board(
    name: str,
    *,
    uid: str | None = None,
    any_version: bool = False,
    timeout_s: float = HELLO_S,
    params: BoardParams | None = None,
) -> Board:
    """Open a board or camera node, and wait until it has said who it is.

    Args:
        name: `/dev/ttyACM0`, `tcp://host:port`, or the 16 hexadecimal digits of a board that is plugged in.
        uid: refuse any other board.
        any_version: also one whose protocol is not ours, to put new firmware on it.
        timeout_s: how long to wait.
        params: how to listen.

    Raises:
        DeviceError: it cannot be opened, does not answer, or is another board.
        WireError: it speaks another protocol version.
    """
    named, uid = _port_of(name, uid)
    board = Board(named, uid=uid, any_version=any_version, params=params, candidates=discovery.ports_of(named))
    try:
        board.wait_connected(timeout_s)
    except BaseException:
        board.close()
        raise
    return board


def _port_of(name: str, uid: str | None) -> tuple[str, str | None]:
    """The port, where a board's number is given instead of one."""
    if len(name) != 16 or not all(letter in "0123456789abcdef" for letter in name.lower()):
        return name, uid
    found = discovery.boards()
    for port in found:
        if port.uid == name.lower():
            return port.name, name.lower()
    plugged = ", ".join(f"{port.uid} on {port.name}" for port in found) or "none"
    raise DeviceError(f"no such board is plugged in (boards: {plugged})", where=name, mend="plug it in")
