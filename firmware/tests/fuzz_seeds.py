"""Make libFuzzer's first inputs of the golden vectors: `python3 fuzz_seeds.py VECTORS OUT`.

The first byte says how fuzz_core.c takes the rest: even as raw bytes, odd as a message to be framed.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    vectors, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for file, column in (("messages.txt", 1), ("refused.txt", 2), ("framing.txt", 2)):
        for line in (vectors / file).read_text().splitlines():
            columns = line.split(" ")
            frame = bytes.fromhex(columns[column])
            (out / f"{columns[0]}_raw").write_bytes(b"\0" + frame)
            if file == "messages.txt":
                (out / f"{columns[0]}_message").write_bytes(b"\1" + uncobs(frame[:-1])[:-4])


def uncobs(encoded: bytes) -> bytes:
    """COBS undone; the input is known to be good."""
    decoded = b""
    while encoded:
        code, encoded = encoded[0], encoded[1:]
        decoded += encoded[: code - 1]
        encoded = encoded[code - 1 :]
        if code < 255 and encoded:
            decoded += b"\0"
    return decoded


if __name__ == "__main__":
    main()
