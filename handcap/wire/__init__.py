"""Bytes on the wire: frames, and the messages of firmware/protocol/handcap.proto in them (docs/wire.md).

`handcap_pb2` is generated (`python tools/generate_proto.py`) and imported where it is used.
"""

from handcap.wire.framing import NODE_FRAME_MAX, SERIAL_FRAME_MAX, Deframer, FrameLosses, frame
from handcap.wire.stream import Decoded, MessageLosses, MessageStream
from handcap.wire.version import require_version, speaks_our_version

__all__ = [
    "NODE_FRAME_MAX",
    "SERIAL_FRAME_MAX",
    "Decoded",
    "Deframer",
    "FrameLosses",
    "MessageLosses",
    "MessageStream",
    "frame",
    "require_version",
    "speaks_our_version",
]
