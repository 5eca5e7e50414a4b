// A cable between board and host, on which bits can fall over.

export class Wire {
  /** @param random for where bits fall over */
  constructor(random, deliver) {
    Object.assign(this, { random, deliver });
    this.perByte = 0;
    this.flipped = 0;
    this.bytes = 0;
  }

  /** From now on, one bit in this share of all bytes is turned. */
  disturb(perByte) {
    this.perByte = perByte;
  }

  carry(byte) {
    this.bytes++;
    if (this.perByte && this.random.uniform() < this.perByte) {
      this.flipped++;
      byte ^= 1 << (this.random.bits() & 7);
    }
    this.deliver(byte);
  }
}
