// The flash chip, and the synchronous serial interface (SSI) the RP2040 reaches it by.
//
// Instructions are always fetched, whatever the SSI is doing: a program that cuts off the flash it runs from does not
// fail here as it would on a board. Commands of the chip: Winbond W25Q16JV, revision N, chapter 8.

import { Registers } from './registers.mjs';

const WRITE_ENABLE = 0x06;
const WRITE_DISABLE = 0x04;
const READ_STATUS = 0x05;
const READ = 0x03;
const PAGE_PROGRAM = 0x02;
const SECTOR_ERASE = 0x20;
const UNIQUE_ID = 0x4b;
const JEDEC_ID = 0x9f;
const JEDEC = [0xef, 0x40, 0x15];
const SECTOR = 4096;
const PAGE = 256;

export class FlashChip {
  /**
   * @param bytes what it holds; changed in place
   * @param uid BigInt of 64 bits, its most significant byte sent first
   */
  constructor(bytes, uid) {
    this.bytes = bytes;
    this.onChange = () => {};
    this.uid = [];
    for (let shift = 56n; shift >= 0n; shift -= 8n) this.uid.push(Number((uid >> shift) & 0xffn));
    this.writable = false;
    this.select(false);
  }

  select(low) {
    if (!low && this.command) this.finish();
    this.command = null;
    this.sent = [];
  }

  /** One byte each way. */
  exchange(byte) {
    if (this.command === null) {
      this.command = byte;
      if (byte === WRITE_ENABLE) this.writable = true;
      if (byte === WRITE_DISABLE) this.writable = false;
      return 0xff;
    }
    const k = this.sent.length;
    this.sent.push(byte);
    switch (this.command) {
      case READ_STATUS:
        return this.writable ? 2 : 0; // never busy: it erases in no time
      case UNIQUE_ID:
        return k >= 4 ? this.uid[(k - 4) % 8] : 0xff;
      case JEDEC_ID:
        return JEDEC[k] ?? 0xff;
      case READ:
        return k >= 3 ? this.bytes[(this.address + k - 3) % this.bytes.length] : 0xff;
      default:
        return 0xff;
    }
  }

  get address() {
    return ((this.sent[0] << 16) | (this.sent[1] << 8) | this.sent[2]) % this.bytes.length;
  }

  finish() {
    if (!this.writable || this.sent.length < 3) return;
    if (this.command === SECTOR_ERASE) this.erase(this.address, SECTOR);
    else if (this.command === PAGE_PROGRAM) this.program(this.address, this.sent.slice(3));
    else return;
    this.writable = false;
  }

  erase(address, length) {
    const start = address - (address % SECTOR);
    this.bytes.fill(0xff, start, start + length);
    this.onChange();
  }

  /** Programming clears bits, and never leaves its page. */
  program(address, data) {
    const page = address - (address % PAGE);
    for (let k = 0; k < data.length; k++) this.bytes[page + ((address - page + k) % PAGE)] &= data[k];
    this.onChange();
  }

  /** As many pages as it takes. */
  programPages(address, data) {
    for (let k = 0; k < data.length; k += PAGE) this.program(address + k, data.slice(k, k + PAGE));
  }
}

const SSIENR = 0x08;
const SER = 0x10;
const TXFLR = 0x20;
const RXFLR = 0x24;
const SR = 0x28;
const DR0 = 0x60;
const SR_TFNF = 1 << 1;
const SR_TFE = 1 << 2;
const SR_RFNE = 1 << 3;
const SSI_DEPTH = 16;

const BETWEEN_TRANSFERS_NANOS = 2000;

/** DW_apb_ssi as far as plain commands go: every byte written is exchanged at once. */
export class Ssi extends Registers {
  constructor(clock, flash, qspi) {
    super();
    Object.assign(this, { clock, flash, qspi });
    this.registers = { [SER]: 1 };
    this.rx = [];
    this.wroteAt = -Infinity;
  }

  readUint32(offset) {
    switch (offset) {
      case TXFLR:
        return 0;
      case RXFLR:
        return this.rx.length;
      case SR:
        return SR_TFNF | SR_TFE | (this.rx.length ? SR_RFNE : 0);
      case DR0:
        return this.rx.shift() ?? 0;
      default:
        return this.registers[offset] ?? 0;
    }
  }

  writeUint32(offset, value) {
    if (offset === DR0) {
      if (!(this.registers[SSIENR] & 1)) return;
      // Without the pin held low by hand, a transfer ends when the queue runs empty.
      if (!this.qspi.heldLow && this.clock.nanos - this.wroteAt > BETWEEN_TRANSFERS_NANOS) {
        this.flash.select(false);
        this.flash.select(true);
      }
      this.wroteAt = this.clock.nanos;
      const answer = this.flash.exchange(value & 0xff);
      if (this.rx.length < SSI_DEPTH) this.rx.push(answer);
      return;
    }
    if (offset === SSIENR && !(value & 1)) this.rx = [];
    this.registers[offset] = value;
  }
}

const SS_CTRL = 0x0c;

/** Pins of the flash: chip select can be held by hand (GPIO_QSPI_SS_CTRL.OUTOVER). */
export class IoQspi extends Registers {
  constructor(flash) {
    super();
    this.flash = flash;
    this.registers = {};
  }

  get heldLow() {
    return ((this.registers[SS_CTRL] >> 8) & 3) === 2;
  }

  readUint32(offset) {
    return this.registers[offset] ?? 0;
  }

  writeUint32(offset, value) {
    const before = this.heldLow;
    this.registers[offset] = value;
    if (this.heldLow !== before) this.flash.select(this.heldLow);
  }
}

