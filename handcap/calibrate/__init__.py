"""A session of a target or a stance becomes numbers with intervals, and the numbers of one rig its rig.json.

Every step writes a *part*: what it found, how sure that is, and why it is refused if it is (`part.py`); `rig` joins
parts.
"""

from handcap.calibrate.board_file import board_of, read_board
from handcap.calibrate.part import Part, read_part, write_part

__all__ = ["Part", "board_of", "read_board", "read_part", "write_part"]
