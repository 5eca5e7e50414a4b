"""Opening a recorded session."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from handcap.errors import SessionError
from handcap.session.erasure import erased_error, read_tombstone, tombstones
from handcap.session.folder import DERIVED, RIG_JSON, require_folder, require_name, take_folders
from handcap.session.journal import CardUse, TakeRecord, read_card_uses, read_take_records
from handcap.session.meta import SessionMeta, read_meta
from handcap.session.rig_file import read_rig, require_devices
from handcap.session.take import Take
from handcap.types import Rig


def read(path: Path, rig_path: Path | None = None) -> Session:
    """Open a session folder; what is wrong with session.json or rig.json is said here, the rest as it is read.

    Args:
        path: the folder.
        rig_path: another rig.json, instead of the one in the session.

    Raises:
        SessionError: there is no session, or session.json is wrong.
        RigError: rig.json is missing or wrong, or of other devices than those that recorded.
    """
    path = Path(path)
    if not path.exists():
        raise SessionError("no such folder", where=path, mend="check the path")
    require_folder(path.resolve())
    meta, calibration = read_meta(path), path / RIG_JSON if rig_path is None else Path(rig_path)
    rig = read_rig(calibration)
    require_devices(rig, meta.device_uids, calibration)
    return Session(path, meta, rig)


class Session:
    """A recorded session. Raw data are never changed by reading.

    Attributes:
        path: its folder.
        meta: session.json.
        rig: the calibration in force when it was recorded.
    """

    def __init__(self, path: Path, meta: SessionMeta, rig: Rig) -> None:
        self.path = path
        self.meta = meta
        self.rig = rig
        self._open: dict[str, Take] = {}

    @cached_property
    def _folders(self) -> dict[str, Path]:
        return take_folders(self.path)

    @property
    def takes(self) -> tuple[str, ...]:
        """Ids of the takes, in order, without those that were erased."""
        return tuple(take for take in self._folders if take not in self.erased)

    @cached_property
    def erased(self) -> dict[str, str]:
        """Takes whose bytes are gone, each with the reason given."""
        stones = [read_tombstone(self.path, take) for take in tombstones(self.path)]
        return {stone.take: stone.why for stone in stones if stone is not None}

    def take(self, id: str) -> Take:
        """One take; asking twice gives the same object."""
        if id in self.erased:
            stone = read_tombstone(self.path, id)
            assert stone is not None
            raise erased_error(stone, self.path)
        if id not in self._folders:
            known = ", ".join(self.takes) or "none"
            raise SessionError(f"no take {id!r} (takes: {known})", where=self.path, mend="name one of these takes")
        if id not in self._open:
            self._open[id] = Take(self, id, self._folders[id])
        return self._open[id]

    def journal(self) -> dict[str, TakeRecord]:
        """How each take ended, as journalled; empty where the journal was not copied along."""
        return read_take_records(self.path)

    def cards(self) -> dict[str, CardUse]:
        """Take to the task card it was done by, as journalled; those without one are not there."""
        return read_card_uses(self.path)

    def derived(self, take_id: str, stage: str) -> Path:
        """Where a stage's output for a take lies, whether it exists or not."""
        return self.path / DERIVED / require_name(take_id, "take") / require_name(stage, "stage")
