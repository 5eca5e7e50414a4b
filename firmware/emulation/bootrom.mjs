// Stands in for the RP2040's boot ROM: the functions a program may call (datasheet 2.8.3), done in JavaScript.
//
// The real ROM is not run here: a boot begins with the image's own second stage. firmware/emulation/boot_rom.py boots
// the same image through the real one.

const MAGIC = 0x01754d; // "Mu", version 1
const FUNCTIONS = 0x100;
const LOOKUP = 0x80;
const BKPT = 0xbe00;
const BX_LR = 0x4770;
const B_ITSELF = 0xe7fe;
export const ENDLESS_LOOP = 0x200;

const code = (name) => name.charCodeAt(0) | (name.charCodeAt(1) << 8);

export class BootRom {
  /**
   * @param flash a FlashChip
   * @param onUsbBoot the program has asked for the bootloader
   */
  constructor(flash, onUsbBoot) {
    this.calls = [
      ['UB', onUsbBoot],
      ['IF', () => {}],
      ['EX', () => {}],
      ['FC', () => {}],
      ['CX', () => {}],
      ['RE', ([offset, length]) => flash.erase(offset, length)],
      ['RP', ([offset, from, length], mcu) => flash.programPages(offset, read(mcu, from, length))],
    ];
  }

  /** Put into the chip: tables, and one breakpoint for each function. */
  load(mcu) {
    const rom = new DataView(mcu.bootrom.buffer);
    rom.setUint32(0x10, MAGIC, true);
    rom.setUint16(0x14, 0x40, true);
    rom.setUint16(0x16, 0x60, true);
    rom.setUint16(0x18, LOOKUP | 1, true);
    this.put(rom, LOOKUP, 0);
    rom.setUint16(ENDLESS_LOOP, B_ITSELF, true);
    this.calls.forEach((_, k) => this.put(rom, FUNCTIONS + 4 * k, k + 1));
  }

  put(rom, address, number) {
    rom.setUint16(address, BKPT | number, true);
    rom.setUint16(address + 2, BX_LR, true);
  }

  /** The core has come to breakpoint `number` inside the ROM. */
  call(number, mcu) {
    const { registers } = mcu.core;
    if (number === 0) {
      const k = this.calls.findIndex(([name]) => code(name) === registers[1]);
      registers[0] = k < 0 ? 0 : (FUNCTIONS + 4 * k) | 1;
      return;
    }
    this.calls[number - 1][1]([registers[0], registers[1], registers[2]], mcu);
  }
}

function read(mcu, from, length) {
  return Array.from({ length }, (_, k) => mcu.readUint8(from + k));
}
