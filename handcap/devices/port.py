"""A cable: bytes in, bytes out, and plain words when it cannot be had."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from handcap.errors import DeviceError
from handcap.wire import NODE_FRAME_MAX, SERIAL_FRAME_MAX

BAUD = 921_600
_BITS_PER_BYTE = 10  # start, eight, stop
# A serial line of its own behind the port; on USB CDC and on emulated ports bytes take no time of their own.
_UARTS = ("ttyUSB", "ttyS", "ttyAMA", "ttyTHS")
_TCP_SECONDS = 3.0
PERMISSION_MEND = (
    "run `sudo usermod -aG dialout $USER` and log in again, "
    "or install the udev rule that `handcap doctor --udev-rule` prints"
)


class Port(Protocol):
    """An open cable. Its file descriptor can be polled; nothing blocks.

    Attributes:
        name: as the user may type it.
        longest_frame: encoded bytes.
        chunk: most bytes that one read returns.
        byte_s: how long one byte is on the line, 0 where that cannot be told from other delays.
        holds_back: whether the sender notices when nobody reads, so that reading may pause without loss.
    """

    name: str
    longest_frame: int
    chunk: int
    byte_s: float
    holds_back: bool

    def fileno(self) -> int: ...

    def read(self) -> bytes:
        """What is there, b"" when nothing is. Raises ConnectionError when the other end is gone."""
        ...

    def write(self, data: bytes) -> int:
        """How many bytes were taken, 0 when there is no room. Raises ConnectionError when the other end is gone."""
        ...

    def close(self) -> None: ...


class SerialPort:
    """A board's serial port, for this program alone."""

    longest_frame = SERIAL_FRAME_MAX
    chunk = 1 << 16
    holds_back = False

    def __init__(self, name: str, baud: int = BAUD) -> None:
        import serial

        self.name = name
        try:
            self._serial = serial.Serial(name, baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise cannot_open(name, error) from error
        uart = os.path.basename(os.path.realpath(name)).startswith(_UARTS)
        self.byte_s = _BITS_PER_BYTE / baud if uart else 0.0

    def fileno(self) -> int:
        return self._serial.fileno()

    def read(self) -> bytes:
        try:
            data = os.read(self._serial.fileno(), self.chunk)
        except BlockingIOError:
            return b""
        except (OSError, ValueError, TypeError) as error:
            raise ConnectionError(str(error)) from error
        if not data:
            raise ConnectionError("hung up")
        return data

    def write(self, data: bytes) -> int:
        try:
            return os.write(self._serial.fileno(), data)
        except BlockingIOError:
            return 0
        except (OSError, ValueError, TypeError) as error:
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        with suppress(OSError):  # unplugged: nothing is left to close
            self._serial.close()


class TcpPort:
    """A camera node's connection."""

    longest_frame = NODE_FRAME_MAX
    chunk = 1 << 20
    byte_s = 0.0
    holds_back = True

    def __init__(self, name: str) -> None:
        self.name = name
        host, port = tcp_address(name)
        try:
            self._socket = socket.create_connection((host, port), timeout=_TCP_SECONDS)
        except OSError as error:
            raise DeviceError(
                f"no camera node answers ({error.strerror or error})",
                where=name,
                mend="check that the node is switched on and in this network, and its address",
                cause="node_missing",
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> bytes:
        try:
            data = self._socket.recv(self.chunk)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise ConnectionError(str(error)) from error
        if not data:
            raise ConnectionError("hung up")
        return data

    def write(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        self._socket.close()


def open_port(name: str) -> Port:
    """`/dev/ttyACM0`, or `tcp://host:port`. Raises DeviceError."""
    return TcpPort(name) if name.startswith("tcp://") else SerialPort(name)


def tcp_address(name: str) -> tuple[str, int]:
    """Host and port of `tcp://host:port`. Raises DeviceError."""
    try:
        parts = urlsplit(name)
        if parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise DeviceError("is no address of a camera node", where=name, mend="write it as tcp://192.168.1.20:7047")


def cannot_open(name: str, error: Exception, found: Iterable[str] | None = None) -> DeviceError:
    """Why a serial port cannot be opened, in plain words."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError("you may not open this port", where=name, mend=PERMISSION_MEND, cause="port_permission")
    if number in (errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK):
        return DeviceError(
            "another program has this port open",
            where=name,
            mend="end that program (a capture, a serial monitor)",
            cause="port_busy",
        )
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or not Path(name).exists():
        there = sorted(serial_ports() if found is None else found)
        return DeviceError(
            f"there is no such port (ports: {', '.join(there) or 'none'})",
            where=name,
            mend="plug the board in, or name one of these ports",
            cause="port_missing",
        )
    return DeviceError(f"cannot be opened ({error})", where=name, mend="unplug the board and plug it in again")


def serial_ports() -> list[str]:
    """Every serial port of this computer, whosever it is."""
    from serial.tools import list_ports

    return [port.device for port in list_ports.comports()]
