// TDK ICM-42688-P on SPI: register banks, reset, self-test, FIFO and INT1, as DS-000347 revision 1.6 describes them.
//
// Not modelled: filters, APEX features, the 20-bit FIFO format, FSYNC, an external clock.

import { Random } from '../random.mjs';

const DEVICE_CONFIG = 0x11;
const INT_CONFIG = 0x14;
const FIFO_CONFIG = 0x16;
const TEMP_DATA1 = 0x1d;
const ACCEL_DATA = 0x1f;
const GYRO_DATA = 0x25;
const INT_STATUS = 0x2d;
const FIFO_COUNTH = 0x2e;
const FIFO_COUNTL = 0x2f;
const FIFO_DATA = 0x30;
const SIGNAL_PATH_RESET = 0x4b;
const INTF_CONFIG0 = 0x4c;
const PWR_MGMT0 = 0x4e;
const GYRO_CONFIG0 = 0x4f;
const ACCEL_CONFIG0 = 0x50;
const FIFO_CONFIG1 = 0x5f;
const FIFO_CONFIG2 = 0x60;
const FIFO_CONFIG3 = 0x61;
const INT_CONFIG1 = 0x64;
const INT_SOURCE0 = 0x65;
const FIFO_LOST_PKT0 = 0x6c;
const FIFO_LOST_PKT1 = 0x6d;
const SELF_TEST_CONFIG = 0x70;
const WHO_AM_I = 0x75;
const REG_BANK_SEL = 0x76;

const STATUS_RESET_DONE = 1 << 4;
const STATUS_DATA_RDY = 1 << 3;
const STATUS_FIFO_THS = 1 << 2;
const STATUS_FIFO_FULL = 1 << 1;

const IDENTITY = 0x47;
const FIFO_BYTES = 2048;
const INVALID = -32768;
const RESET_NANOS = 1e6;
const ACCEL_START_NANOS = 20e6; // table 2, start-up from sleep
const GYRO_START_NANOS = 30e6; // table 1
const ODR_HZ = { 3: 8000, 4: 4000, 5: 2000, 6: 1000, 7: 200, 8: 100, 9: 50, 10: 25, 11: 12.5, 15: 500 };
const GYRO_RANGE_DEG_S = [2000, 1000, 500, 250, 125, 62.5, 31.25, 15.625];
const ACCEL_RANGE_G = [16, 8, 4, 2];
const GRAVITY = 9.80665;
const SELF_TEST_COUNTS = 2620; // of code 1 at 250 deg/s and 2 g; every further code adds 1 %
const SELF_TEST_CODE = 96;

const DEFAULTS = [
  {
    0x13: 0x05,
    [INT_STATUS]: STATUS_RESET_DONE,
    [INTF_CONFIG0]: 0x30,
    0x4d: 0x91,
    [GYRO_CONFIG0]: 0x06,
    [ACCEL_CONFIG0]: 0x06,
    0x51: 0x16,
    0x52: 0x11,
    0x53: 0x0d,
    0x54: 0x23,
    0x57: 0x82,
    0x62: 0x10,
    [INT_CONFIG1]: 0x10,
    [INT_SOURCE0]: 0x10,
  },
  { 0x5f: SELF_TEST_CODE, 0x60: SELF_TEST_CODE, 0x61: SELF_TEST_CODE },
  { 0x3b: SELF_TEST_CODE, 0x3c: SELF_TEST_CODE, 0x3d: SELF_TEST_CODE },
  {},
  {},
];
const READ_ONLY = new Set([INT_STATUS, FIFO_COUNTH, FIFO_COUNTL, FIFO_DATA, FIFO_LOST_PKT0, FIFO_LOST_PKT1, WHO_AM_I]);

export class Icm42688 {
  /**
   * @param clock of the emulation
   * @param skew of that clock
   * @param world what there is to be felt: `feel(trueNanos, sample)`
   * @param options uid seeds this specimen; rateError (0.004 is 0.4 % fast), identity, selfTestGain
   * @param int1 called with the level of pin INT1, null where it is let go
   */
  constructor(clock, skew, world, options, int1) {
    Object.assign(this, { clock, skew, world, int1 });
    const random = new Random(options.uid, options.uid >> 32n, 42688n);
    this.rateError = options.rateError ?? 0.02 * (random.uniform() - 0.5);
    this.identity = options.identity ?? IDENTITY;
    this.selfTestGain = options.selfTestGain ?? 1;
    this.absent = options.absent ?? false;
    this.sample = { gyro: [0, 0, 0], accel: [0, 0, 0], celsius: 25, raw: null };
    this.samples = 0; // since the emulation began
    this.onSample = () => {};
    this.lost = 0;
    this.stuckUntil = -1;
    this.silentUntil = -1;
    this.invalid = 0;
    this.tick = clock.createAlarm(() => this.measure());
    this.pulseEnd = clock.createAlarm(() => this.drive(false));
    this.selected = false;
    this.reset();
  }

  reset() {
    this.banks = DEFAULTS.map((values) => Uint8Array.from({ length: 128 }, (_, k) => values[k] ?? 0));
    this.bank = 0;
    this.ready = this.clock.nanos + RESET_NANOS;
    this.fifo = [];
    this.partial = 0;
    this.lostPackets = 0;
    this.resumes = false;
    this.tick.cancel();
    this.pulseEnd.cancel();
    this.running = false;
    this.stuckUntil = this.stuckUntil === Infinity ? -1 : this.stuckUntil;
    this.drive(false);
  }

  get r() {
    return this.banks[0];
  }

  // The bus

  select(low) {
    if (!low && this.selected && !(this.r[FIFO_CONFIG1] & 0x40)) this.partial = 0;
    this.selected = low;
    this.address = null;
  }

  exchange(byte) {
    if (!this.selected || this.absent || this.clock.nanos < this.ready) return 0xff;
    if (this.address === null) {
      this.address = byte & 0x7f;
      this.reading = (byte & 0x80) !== 0;
      return 0xff;
    }
    const address = this.address;
    if (address !== FIFO_DATA) this.address = (address + 1) & 0x7f;
    if (this.reading) return this.read(address);
    this.write(address, byte);
    return 0xff;
  }

  read(address) {
    if (address === REG_BANK_SEL) return this.bank;
    if (this.bank !== 0) return this.banks[this.bank][address];
    switch (address) {
      case WHO_AM_I:
        return this.identity;
      case INT_STATUS: {
        const value = this.r[INT_STATUS];
        this.r[INT_STATUS] = 0;
        if (this.latched) this.drive(false);
        return value;
      }
      case FIFO_COUNTH:
        this.latchedCount = this.fifoCount;
        return this.countByte(true);
      case FIFO_COUNTL:
        return this.countByte(false);
      case FIFO_DATA:
        return this.readFifo();
      case FIFO_LOST_PKT0:
        return this.lostPackets & 0xff;
      case FIFO_LOST_PKT1:
        return this.lostPackets >> 8;
      default:
        if (address >= TEMP_DATA1 && address < GYRO_DATA + 6) return this.dataByte(address);
        return this.r[address];
    }
  }

  countByte(high) {
    const bigEndian = (this.r[INTF_CONFIG0] & 0x20) !== 0;
    const count = this.latchedCount ?? this.fifoCount;
    return high === bigEndian ? count >> 8 : count & 0xff;
  }

  dataByte(address) {
    const bigEndian = (this.r[INTF_CONFIG0] & 0x10) !== 0;
    const k = address - TEMP_DATA1;
    const word = this.last?.[k >> 1] ?? INVALID;
    return ((k & 1) === 0) === bigEndian ? (word >> 8) & 0xff : word & 0xff;
  }

  write(address, value) {
    if (address === REG_BANK_SEL) {
      this.bank = Math.min(value & 7, 4);
      return;
    }
    if (this.bank !== 0) {
      this.banks[this.bank][address] = value;
      return;
    }
    if (READ_ONLY.has(address)) return;
    if (address === DEVICE_CONFIG && value & 1) {
      this.reset();
      return;
    }
    const before = this.r[address];
    this.r[address] = value;
    switch (address) {
      case SIGNAL_PATH_RESET:
        if (value & 0x02) this.flush();
        this.r[address] = 0;
        break;
      case FIFO_CONFIG:
        if (value >> 6 === 0) this.flush();
        break;
      case PWR_MGMT0:
      case GYRO_CONFIG0:
      case ACCEL_CONFIG0:
        if (value !== before) this.restart(address === PWR_MGMT0 ? before : this.r[PWR_MGMT0]);
        break;
      case INT_CONFIG:
        this.drive(false);
        break;
    }
  }

  // Measuring

  get gyroOn() {
    return ((this.r[PWR_MGMT0] >> 2) & 3) === 3;
  }

  get accelOn() {
    return (this.r[PWR_MGMT0] & 3) >= 2;
  }

  get periodNanos() {
    const rates = [];
    if (this.gyroOn) rates.push(ODR_HZ[this.r[GYRO_CONFIG0] & 15] ?? 1000);
    if (this.accelOn) rates.push(ODR_HZ[this.r[ACCEL_CONFIG0] & 15] ?? 1000);
    return this.skew.boardSpan(1e9 / (Math.max(...rates) * (1 + this.rateError)));
  }

  restart(powerBefore) {
    const { nanos } = this.clock;
    if (this.gyroOn && ((powerBefore >> 2) & 3) !== 3) this.gyroGood = nanos + GYRO_START_NANOS;
    if (this.accelOn && (powerBefore & 3) < 2) this.accelGood = nanos + ACCEL_START_NANOS;
    if (!this.gyroOn && !this.accelOn) {
      this.tick.cancel();
      return;
    }
    this.due = nanos + this.periodNanos;
    this.tick.schedule(this.periodNanos);
  }

  measure() {
    const { nanos } = this.clock;
    // From when it was due, not from when the clock got there: no drift.
    this.due = Math.max(this.due + this.periodNanos, nanos);
    this.tick.schedule(this.due - nanos);
    if (nanos < this.stuckUntil) return;
    const trueNanos = this.skew.trueNanos;
    this.world.feel(trueNanos, this.sample, this.samples);
    const accel = this.accelOn && nanos >= this.accelGood ? this.accelCounts() : [INVALID, INVALID, INVALID];
    const gyro = this.gyroOn && nanos >= this.gyroGood ? this.gyroCounts() : [INVALID, INVALID, INVALID];
    if (this.invalid > 0) {
      this.invalid--;
      accel.fill(INVALID);
      gyro.fill(INVALID);
    }
    this.samples++;
    this.onSample(trueNanos);
    const celsius = this.sample.celsius - 25;
    this.last = [Math.round(celsius * 132.48), ...accel, ...gyro];
    this.raise(STATUS_DATA_RDY | this.store(accel, gyro, celsius, trueNanos));
  }

  accelCounts() {
    const counts = 32768 / (ACCEL_RANGE_G[(this.r[ACCEL_CONFIG0] >> 5) & 3] * GRAVITY);
    const test = this.selfTest(3, 2 / ACCEL_RANGE_G[(this.r[ACCEL_CONFIG0] >> 5) & 3]);
    return this.sample.accel.map((value, k) => clipped(value * counts + test[k]));
  }

  gyroCounts() {
    const range = GYRO_RANGE_DEG_S[this.r[GYRO_CONFIG0] >> 5];
    const counts = 32768 / ((range * Math.PI) / 180);
    const test = this.selfTest(0, 250 / range);
    if (this.sample.raw) return this.sample.raw.map((value, k) => clipped(value + test[k]));
    return this.sample.gyro.map((value, k) => clipped(value * counts + test[k]));
  }

  /** Counts that the self-test adds to x, y, z; bits from `first` on switch it on. */
  selfTest(first, scale) {
    const full = SELF_TEST_COUNTS * 1.01 ** (SELF_TEST_CODE - 1) * scale * this.selfTestGain;
    return [0, 1, 2].map((k) => ((this.r[SELF_TEST_CONFIG] >> (first + k)) & 1 ? full : 0));
  }

  // The FIFO

  get mode() {
    return this.r[FIFO_CONFIG] >> 6;
  }

  get packetBytes() {
    const has = this.r[FIFO_CONFIG1] & 3;
    return has === 3 ? 16 : has ? 8 : 0;
  }

  get fifoCount() {
    return this.r[INTF_CONFIG0] & 0x40 ? this.fifo.length : this.fifo.length * this.packetBytes;
  }

  /** The sample as a packet, if the FIFO is on; what INT_STATUS has to say about it. */
  store(accel, gyro, celsius, trueNanos) {
    const bytes = this.packetBytes;
    if (this.mode === 0 || bytes === 0) return 0;
    let status = 0;
    if ((this.fifo.length + 1) * bytes > FIFO_BYTES) {
      status |= STATUS_FIFO_FULL;
      this.lost++;
      this.lostPackets = (this.lostPackets + 1) & 0xffff;
      if (this.mode >= 2) return status; // stop on full
      this.fifo.shift();
      this.partial = 0;
    }
    const before = this.fifoCount;
    this.fifo.push(this.packet(accel, gyro, celsius, trueNanos));
    const watermark = ((this.r[FIFO_CONFIG3] & 0x0f) << 8) | this.r[FIFO_CONFIG2];
    const always = (this.r[FIFO_CONFIG1] & 0x20) !== 0;
    if (watermark && this.fifoCount >= watermark && (always || before < watermark)) status |= STATUS_FIFO_THS;
    return status;
  }

  packet(accel, gyro, celsius, trueNanos) {
    const has = this.r[FIFO_CONFIG1] & 3;
    const packet = Buffer.alloc(this.packetBytes);
    packet[0] = (has & 1 ? 0x40 : 0) | (has & 2 ? 0x20 : 0) | (has === 3 ? 0x08 : 0);
    const bigEndian = (this.r[INTF_CONFIG0] & 0x10) !== 0;
    let at = 1;
    for (const value of [...(has & 1 ? accel : []), ...(has & 2 ? gyro : [])]) {
      if (bigEndian) packet.writeInt16BE(value, at);
      else packet.writeInt16LE(value, at);
      at += 2;
    }
    packet.writeInt8(Math.max(-128, Math.min(127, Math.round(celsius * 2.07))), at);
    if (has === 3) packet.writeUInt16BE(Math.floor((trueNanos * (1 + this.rateError)) / 1000) & 0xffff, 14);
    return packet;
  }

  readFifo() {
    const packet = this.fifo[0];
    if (!packet) return 0xff; // a header that says: empty
    const byte = packet[this.partial++];
    if (this.partial === packet.length) {
      this.fifo.shift();
      this.partial = 0;
    }
    return byte;
  }

  flush() {
    this.fifo = [];
    this.partial = 0;
    if (this.stuckUntil === Infinity) this.stuckUntil = -1;
  }

  // INT1

  get latched() {
    return (this.r[INT_CONFIG] & 0x04) !== 0;
  }

  raise(status) {
    this.r[INT_STATUS] |= status;
    if (!(status & this.r[INT_SOURCE0]) || this.clock.nanos < this.silentUntil) return;
    this.drive(true);
    if (!this.latched) this.pulseEnd.schedule(this.r[INT_CONFIG1] & 0x40 ? 8000 : 100000);
  }

  drive(active) {
    const high = active === ((this.r[INT_CONFIG] & 0x01) !== 0);
    // As an open drain, which it is after a reset, the pin only ever pulls down.
    const level = high && !(this.r[INT_CONFIG] & 0x02) ? null : high;
    if (level !== this.level) this.int1((this.level = level));
  }

  // What may go wrong

  /** Neither samples nor interrupts: for a while, or until the program empties the FIFO or resets the chip. */
  stick(untilNanos = Infinity) {
    this.stuckUntil = untilNanos;
  }

  /** The FIFO fills, and INT1 says nothing. */
  hush(untilNanos) {
    this.silentUntil = untilNanos;
  }
}

function clipped(value) {
  return Math.max(-32767, Math.min(32767, Math.round(value)));
}
