"""Bytes on the wire: the messages of firmware/protocol/handcap.proto.

`handcap_pb2` is generated (`python tools/generate_proto.py`) and imported where it is used.
"""
