// The RP2040's serial port: an ARM PL011 that takes its time.
//
// rp2040js's own sends every byte at once and interrupts for every byte it gets. Here both FIFOs fill and drain at the
// baud rate, and interrupts come as ARM DDI 0183 says: when a level is crossed, or 32 bit times after the last byte.

import { Registers } from './registers.mjs';

const DR = 0x00;
const RSR = 0x04;
const FR = 0x18;
const IBRD = 0x24;
const FBRD = 0x28;
const LCR_H = 0x2c;
const CR = 0x30;
const IFLS = 0x34;
const IMSC = 0x38;
const RIS = 0x3c;
const MIS = 0x40;
const ICR = 0x44;
const DMACR = 0x48;

const FR_BUSY = 1 << 3;
const FR_RXFE = 1 << 4;
const FR_TXFF = 1 << 5;
const FR_RXFF = 1 << 6;
const FR_TXFE = 1 << 7;
const LCR_FEN = 1 << 4;
const CR_UARTEN = 1 << 0;
const CR_TXE = 1 << 8;
const CR_RXE = 1 << 9;
const INT_RX = 1 << 4;
const INT_TX = 1 << 5;
const INT_RT = 1 << 6;
const INT_OE = 1 << 10;
const DR_OE = 1 << 11;

const DEPTH = 32;
const LEVELS = [4, 8, 16, 24, 28];
const TIMEOUT_BITS = 32;

export class Pl011 extends Registers {
  /**
   * @param mcu the chip: clkPeri, setInterrupt
   * @param clock of this boot
   * @param irq number of its interrupt
   * @param onByte called with every byte when its last bit has left
   * @param wired whether its pins are given to it
   */
  constructor(mcu, clock, irq, onByte, wired = () => true) {
    super();
    Object.assign(this, { mcu, irq, onByte, wired });
    this.registers = { [IBRD]: 0, [FBRD]: 0, [LCR_H]: 0, [CR]: CR_TXE | CR_RXE, [IFLS]: 0x12, [IMSC]: 0, [DMACR]: 0 };
    this.raw = 0;
    this.tx = [];
    this.sending = -1;
    this.rx = [];
    this.overrun = false;
    this.line = []; // what the other side has yet to send
    this.overruns = 0;
    this.txLost = 0; // written to a full FIFO
    this.sent = clock.createAlarm(() => this.byteSent());
    this.received = clock.createAlarm(() => this.byteReceived());
    this.timeout = clock.createAlarm(() => this.raise(INT_RT));
  }

  get bitNanos() {
    const divider = this.registers[IBRD] + this.registers[FBRD] / 64;
    return divider ? (16e9 * divider) / this.mcu.clkPeri : 0;
  }

  get byteNanos() {
    return 10 * this.bitNanos; // 8N1
  }

  get depth() {
    return this.registers[LCR_H] & LCR_FEN ? DEPTH : 1;
  }

  get txLevel() {
    return this.depth === 1 ? 0 : [...LEVELS.map((level) => DEPTH - level)].reverse()[this.registers[IFLS] & 7] ?? 16;
  }

  get rxLevel() {
    return this.depth === 1 ? 1 : (LEVELS[(this.registers[IFLS] >> 3) & 7] ?? 16);
  }

  enabled(bit) {
    return (this.registers[CR] & (CR_UARTEN | bit)) === (CR_UARTEN | bit) && this.bitNanos > 0 && this.wired();
  }

  /** The other side sends these, one after another at the baud rate. */
  feed(bytes) {
    const idle = this.line.length === 0;
    for (const byte of bytes) this.line.push(byte);
    if (idle && this.line.length) this.received.schedule(this.byteNanos || 10000);
  }

  byteReceived() {
    const byte = this.line.shift();
    if (this.line.length) this.received.schedule(this.byteNanos || 10000);
    if (!this.enabled(CR_RXE)) return;
    if (this.rx.length >= this.depth) {
      this.overrun = true;
      this.overruns++;
      this.raise(INT_OE);
      return;
    }
    this.rx.push(this.overrun ? byte | DR_OE : byte);
    this.overrun = false;
    if (this.rx.length === this.rxLevel) this.raise(INT_RX);
    this.timeout.schedule(TIMEOUT_BITS * this.bitNanos);
  }

  load() {
    if (this.sending >= 0 || !this.tx.length || !this.enabled(CR_TXE)) return;
    this.sending = this.tx.shift();
    this.sent.schedule(this.byteNanos);
    if (this.tx.length === this.txLevel) this.raise(INT_TX);
  }

  byteSent() {
    const byte = this.sending;
    this.sending = -1;
    this.load();
    this.onByte(byte);
  }

  raise(bits) {
    this.raw |= bits;
    this.check();
  }

  clear(bits) {
    this.raw &= ~bits;
    this.check();
  }

  check() {
    this.mcu.setInterrupt(this.irq, (this.raw & this.registers[IMSC]) !== 0);
  }

  readUint32(offset) {
    switch (offset) {
      case DR: {
        if (!this.rx.length) return 0;
        const value = this.rx.shift();
        if (this.rx.length < this.rxLevel) this.raw &= ~INT_RX;
        if (!this.rx.length) {
          this.raw &= ~INT_RT;
          this.timeout.cancel();
        }
        this.check();
        return value;
      }
      case RSR:
        return this.overrun ? 8 : 0;
      case FR:
        return (
          (this.sending >= 0 || this.tx.length ? FR_BUSY : 0) |
          (this.rx.length ? 0 : FR_RXFE) |
          (this.tx.length >= this.depth ? FR_TXFF : 0) |
          (this.rx.length >= this.depth ? FR_RXFF : 0) |
          (this.tx.length ? 0 : FR_TXFE)
        );
      case RIS:
        return this.raw;
      case MIS:
        return this.raw & this.registers[IMSC];
      default:
        return this.registers[offset] ?? 0;
    }
  }

  writeUint32(offset, value) {
    switch (offset) {
      case DR:
        if (this.tx.length >= this.depth) this.txLost++;
        else this.tx.push(value & 0xff);
        if (this.tx.length > this.txLevel) this.clear(INT_TX);
        this.load();
        return;
      case RSR:
        this.overrun = false;
        return;
      case ICR:
        this.clear(this.rawWriteValue);
        return;
      default:
        this.registers[offset] = value;
        if (offset === CR) this.load();
        this.check();
    }
  }
}
