"""The session folder: write it, read it, recover it.

A session is written once (`create`, `create_or_continue`), read as streams (`read`), mended after a crash
(`recover`); stages put their output beside the raw data (`write_stage`).
"""

from handcap.session.erasure import Tombstone, erase
from handcap.session.folder import is_name
from handcap.session.journal import CardUse, StepMark
from handcap.session.meta import SessionClock, SessionMeta
from handcap.session.new_folder import new_folder
from handcap.session.pictures import Packet
from handcap.session.reader import Session, read
from handcap.session.recovery import RecoveredTake, RecoveryReport, recover
from handcap.session.rig_bundle import export_rig, import_rig
from handcap.session.rig_file import read_rig, write_rig
from handcap.session.rig_store import RigRecord, RigStore
from handcap.session.stage_output import read_report, remove_stage, require_place, write_report, write_stage
from handcap.session.take import Take
from handcap.session.take_index import Damage
from handcap.session.trajectory_file import read_trajectory, write_trajectory
from handcap.session.writer import SessionWriter, TakeWriter, create, create_or_continue

__all__ = [
    "CardUse",
    "Damage",
    "Packet",
    "RecoveredTake",
    "RecoveryReport",
    "RigRecord",
    "RigStore",
    "Session",
    "SessionClock",
    "SessionMeta",
    "SessionWriter",
    "StepMark",
    "Take",
    "TakeWriter",
    "Tombstone",
    "create",
    "create_or_continue",
    "erase",
    "export_rig",
    "import_rig",
    "is_name",
    "new_folder",
    "read",
    "read_report",
    "read_rig",
    "read_trajectory",
    "recover",
    "remove_stage",
    "require_place",
    "write_report",
    "write_rig",
    "write_stage",
    "write_trajectory",
]
