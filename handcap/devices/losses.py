"""All ways in which something a board said did not reach whoever records, with their names."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Losses:
    """Counted since a board was opened; docs/wire.md explains each.

    Attributes:
        bad_crc, bad_cobs, too_short, too_long: damaged frames.
        not_a_message: frames whose bytes are right and mean nothing.
        messages_missing: gaps in the numbering, damaged frames included.
        out_of_order: messages whose number ran back.
        unknown_body: kinds of messages that this program does not know.
        queue_full: messages that came faster than they were taken.
        foreign: messages of a board that was not the one this connection began with.
        unplugged: times the cable was gone.
        reboots: times the board restarted under us.
        board_imu_samples, board_frame_stamps, board_messages: lost on the board itself since it started.
        board_rx: frames from here that reached the board damaged.
    """

    bad_crc: int = 0
    bad_cobs: int = 0
    too_short: int = 0
    too_long: int = 0
    not_a_message: int = 0
    messages_missing: int = 0
    out_of_order: int = 0
    unknown_body: int = 0
    queue_full: int = 0
    foreign: int = 0
    unplugged: int = 0
    reboots: int = 0
    board_imu_samples: int = 0
    board_frame_stamps: int = 0
    board_messages: int = 0
    board_rx: int = 0

    def as_dict(self) -> dict[str, int]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def any(self) -> bool:
        return any(self.as_dict().values())
