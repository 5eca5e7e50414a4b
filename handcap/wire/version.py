"""Do both ends mean the same by a message?"""

from __future__ import annotations

from handcap.errors import WireError
from handcap.wire.handcap_pb2 import PROTOCOL_VERSION_CURRENT, Hello


def speaks_our_version(hello: Hello) -> bool:
    return hello.protocol_version == PROTOCOL_VERSION_CURRENT


def require_version(hello: Hello, where: str) -> None:
    """Refuse a board of another protocol version.

    Raises:
        WireError: names both versions.
    """
    if speaks_our_version(hello):
        return
    theirs = hello.protocol_version
    mend = f"run `handcap flash {where}`"
    if theirs > PROTOCOL_VERSION_CURRENT:
        mend += ", or install the handcap that goes with the board's firmware"
    raise WireError(
        f"the board speaks protocol version {theirs} (firmware {hello.firmware_version or 'unknown'}), "
        f"this handcap speaks version {int(PROTOCOL_VERSION_CURRENT)}",
        where=where,
        mend=mend,
    )
