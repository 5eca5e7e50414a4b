"""H.264 as a session holds it: Annex B, parameter sets before every key picture, nothing before the first one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SPS, _PPS, _IDR = 7, 8, 5


class AnnexB:
    """Makes access units of one stream fit for a session.

    Args:
        stream: PyAV's; its extradata say how units are framed.
    """

    def __init__(self, stream: Any) -> None:
        extradata = bytes(stream.codec_context.extradata or b"")
        self._parameters = b""
        self._filter: Any = None
        if extradata[:1] == b"\x01":  # lengths instead of start codes (ISO/IEC 14496-15)
            from av.bitstream import BitStreamFilterContext

            self._filter = BitStreamFilterContext("h264_mp4toannexb", stream)
        else:
            self._remember(extradata)

    def units(self, packet: Any) -> Iterator[tuple[bytes, bool]]:
        """(unit, whether decoding can begin with it) for each that a packet makes."""
        for each in [packet] if self._filter is None else self._filter.filter(packet):
            data = bytes(each)
            if data:
                yield self._whole(data)

    def _whole(self, data: bytes) -> tuple[bytes, bool]:
        kinds = [kind for kind, _, _ in nal_units(data)]
        if _SPS in kinds:
            self._remember(data)
        key = _IDR in kinds
        if key and _SPS not in kinds:
            data = self._parameters + data
        return data, key

    def _remember(self, data: bytes) -> None:
        parts = [data[begin:end] for kind, begin, end in nal_units(data) if kind in (_SPS, _PPS)]
        if parts:
            self._parameters = b"".join(b"\0\0\0\1" + part for part in parts)


def nal_units(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(type, begin, end) of the units of Annex B bytes, start codes left out (ITU-T H.264, annex B)."""
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        begin = at + 3
        after = data.find(b"\0\0\1", begin)
        end = len(data) if after < 0 else after
        while end > begin and data[end - 1] == 0:  # the next start code's own zeros
            end -= 1
        if end > begin:
            yield data[begin] & 0x1F, begin, end
        at = after
