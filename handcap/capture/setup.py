"""Which rig is plugged in, and what its session is called."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from handcap import __version__
from handcap.clock import utc_text
from handcap.devices import Board
from handcap.errors import DeviceError
from handcap.session import RigStore, SessionClock, SessionMeta
from handcap.types import Rig


def default_folder() -> Path:
    """A new folder here, named by the time."""
    return Path(datetime.now().strftime("session-%Y-%m-%d-%H%M%S"))


def capture_meta(
    out: Path,
    task: str | None,
    consent: str,
    rig: Rig,
    boards: Mapping[str, Board],
    collector: str | None = None,
) -> SessionMeta:
    """session.json of a session that begins now.

    Args:
        out: its folder.
        task: of its takes.
        consent: id of the form, or "none".
        rig: in force.
        boards: open.
        collector: alias of whoever records.
    """
    return SessionMeta(
        id=Path(out).absolute().name,
        created=utc_text(datetime.now(UTC)),
        origin="capture",
        clock=SessionClock(kind="monotonic", utc_offset_ns=time.time_ns() - time.monotonic_ns()),
        task=task,
        device_uids={name: boards[name].uid for name in rig.devices if name in boards},
        collector=collector,
        consent_id=consent,
        versions={"handcap": __version__, **{f"firmware_{n}": b.hello.firmware_version for n, b in boards.items()}},
    )


def find_rig(boards: Sequence[Board], rig: Rig | None = None) -> tuple[Rig, dict[str, Board]]:
    """The rig that these boards make up, and which of them is which device.

    Args:
        boards: open.
        rig: that it is to be; None: the rig store knows.

    Raises:
        DeviceError: no board, none of this rig, or of more than one rig.
    """
    by_uid = {board.uid: board for board in boards}
    if not by_uid:
        raise DeviceError("no board is plugged in", mend="plug the rig in, or try --virtual; `handcap devices` lists")
    if rig is None:
        rig = _stored(by_uid)
    named = {name: by_uid[device.uid] for name, device in rig.devices.items() if device.uid in by_uid}
    missing = [f"{name} ({device.uid})" for name, device in rig.devices.items() if name not in named]
    if missing:
        raise DeviceError(
            f"of rig {rig.rig_id} {', '.join(missing)} is not plugged in (boards: {', '.join(sorted(by_uid))})",
            mend="plug it in, or name another rig with --rig",
        )
    return rig, named


def _stored(by_uid: Mapping[str, Board]) -> Rig:
    store = RigStore()
    fitting: list[Rig] = []
    for record in store.records():
        rig = None if record.in_force is None else record.in_force.rig
        if rig is not None and any(device.uid in by_uid for device in rig.devices.values()):
            fitting.append(rig)
    if len(fitting) != 1:
        which = ", ".join(rig.rig_id for rig in fitting) or "none"
        raise DeviceError(
            f"which rig is it? Rigs of these boards: {which} (boards: {', '.join(sorted(by_uid))})",
            mend="name it with --rig, or add it with `handcap rigs add`",
        )
    return fitting[0]
