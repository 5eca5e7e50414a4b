"""What handcap says when it cannot go on.

HandcapError
├── UsageError           the command line asks for something that does not exist
├── SessionError         a session folder is missing, torn, newer than this program, or cannot be written
├── RigError             rig.json is missing something or contradicts itself
├── FormatError          a foreign file cannot be read or written
├── OutputError          what was to be written exists already, or cannot be written
├── WireError            what comes over the wire is in a version that this program does not speak
├── DeviceError          a board, node or port cannot be reached, does not obey, or is not what it was
├── TaskError            a task card cannot be used, or asks for something that was not done
├── ModelError           weights of a neural network are missing, damaged or cannot be fetched
├── CalibrationError     a calibration cannot even be tried (one that was tried and is bad gets a verdict instead)
├── ReconstructionError  a take cannot even be tried (a take that was tried and failed gets a verdict instead)
├── RetargetError        a robot's description cannot be used, or a take cannot even be tried on it
└── ReviewError          a replay cannot be made or shown
"""

from __future__ import annotations

from pathlib import Path

from handcap.causes import Cause


class HandcapError(Exception):
    """Something the user can mend.

    Args:
        what: what is wrong, in plain words.
        where: file, row, device or take it is wrong in.
        mend: what to do about it, as an instruction.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.mend = mend

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  → {self.mend}" if self.mend else head

    def as_dict(self) -> dict[str, str | None]:
        """`{"where", "what", "mend"}`, as `--json` prints it."""
        return {"where": self.where, "what": self.what, "mend": self.mend}


class UsageError(HandcapError):
    pass


class SessionError(HandcapError):
    pass


class RigError(HandcapError):
    pass


class FormatError(HandcapError):
    pass


class OutputError(HandcapError):
    pass


class WireError(HandcapError):
    pass


class DeviceError(HandcapError):
    """As every error, and under which code of causes.toml `handcap doctor` tells it."""

    def __init__(
        self, what: str, *, where: str | Path | None = None, mend: str | None = None, cause: str = "device_silent"
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.cause = cause


class TaskError(HandcapError):
    pass


class ModelError(HandcapError):
    pass


class CalibrationError(HandcapError):
    pass


class ReconstructionError(HandcapError):
    """As every error, and the cause that says it in every language, where there is one."""

    def __init__(
        self, what: str, *, where: str | Path | None = None, mend: str | None = None, cause: Cause | None = None
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.cause = cause


class RetargetError(HandcapError):
    pass


class ReviewError(HandcapError):
    pass
