"""Make handcap/wire/handcap_pb2.py and .pyi from firmware/protocol/handcap.proto: `python tools/generate_proto.py`."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(out: Path) -> None:
    """Write handcap_pb2.py and handcap_pb2.pyi into `out`."""
    from grpc_tools import protoc

    status = protoc.main(
        [
            "protoc",
            f"--proto_path={ROOT / 'firmware' / 'protocol'}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            "handcap.proto",
        ]
    )
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "handcap" / "wire")
