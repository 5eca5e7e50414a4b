// ams AS5600 magnetic angle encoder on I2C, as its datasheet (v1-06) describes it.

export const ADDRESS = 0x36;
const STATUS = 0x0b;
const RAW_ANGLE = 0x0c;
const ANGLE = 0x0e;
const AGC = 0x1a;
const MAGNITUDE = 0x1b;
const MAGNET_DETECTED = 0x20;
const TOO_WEAK = 0x10;
const TOO_STRONG = 0x08;
const STATUS_OF = {
  ok: MAGNET_DETECTED,
  weak: MAGNET_DETECTED | TOO_WEAK,
  strong: MAGNET_DETECTED | TOO_STRONG,
};
const TURN = 4096;
const IC_SDA_HOLD = 0x7c;

export class As5600 {
  /** @param angle () => the shaft's angle now, rad */
  constructor(angle) {
    this.angle = angle;
    this.magnet = 'ok';
    this.registers = new Uint8Array(256);
    this.pointer = 0;
    this.addressed = false;
    this.held = 0;
  }

  start() {
    this.addressed = false;
  }

  write(byte) {
    if (!this.addressed) this.pointer = byte;
    else this.registers[this.pointer++ & 0xff] = byte;
    this.addressed = true;
  }

  read() {
    const at = this.pointer;
    const value = this.value(at);
    // Angles and magnitude can be read over and over: after the low byte comes the high one again (page 13).
    const wide = [RAW_ANGLE, ANGLE, MAGNITUDE].find((first) => at === first + 1);
    this.pointer = wide ?? (at + 1) & 0xff;
    return value;
  }

  value(at) {
    switch (at) {
      case STATUS:
        return STATUS_OF[this.magnet] ?? 0;
      case RAW_ANGLE:
      case ANGLE: // high byte first; both belong to one angle
        this.held = this.counts();
        return this.held >> 8;
      case RAW_ANGLE + 1:
      case ANGLE + 1:
        return this.held & 0xff;
      case AGC:
        return { ok: 128, weak: 255, strong: 0 }[this.magnet] ?? 255;
      default:
        return this.registers[at];
    }
  }

  counts() {
    if (this.magnet === 'missing') return 0;
    const turns = this.angle() / (2 * Math.PI);
    return Math.floor((turns - Math.floor(turns)) * TURN) % TURN;
  }
}

/** Put it on an I2C bus of the chip, at the speed the program has set. */
export function connect(i2c, clock, clkSys, device, answers) {
  // rp2040js does not know the hold time, and nothing here depends on it.
  const write = i2c.writeUint32.bind(i2c);
  i2c.writeUint32 = (offset, value) => offset !== IC_SDA_HOLD && write(offset, value);
  let then = null;
  const alarm = clock.createAlarm(() => then());
  const after = (bits, what) => {
    then = what;
    alarm.schedule((bits * 1e9 * (i2c.sclLowPeriod + i2c.sclHighPeriod)) / clkSys());
  };
  i2c.onStart = () => after(1, () => i2c.completeStart());
  i2c.onConnect = (address) => {
    device.start();
    after(9, () => i2c.completeConnect(address === ADDRESS && answers()));
  };
  i2c.onWriteByte = (byte) => {
    device.write(byte);
    after(9, () => i2c.completeWrite(answers()));
  };
  i2c.onReadByte = () => after(9, () => i2c.completeRead(answers() ? device.read() : 0xff));
  i2c.onStop = () => after(1, () => i2c.completeStop());
}
