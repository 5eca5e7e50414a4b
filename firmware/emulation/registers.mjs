// What every peripheral of the RP2040 shares: registers, and their aliases that flip, set or clear bits
// (datasheet 2.1.2).

export class Registers {
  constructor() {
    this.rawWriteValue = 0;
  }

  writeUint32Atomic(offset, value, kind) {
    this.rawWriteValue = value >>> 0;
    if (kind === 0) this.writeUint32(offset, value >>> 0);
    else if (kind === 1) this.writeUint32(offset, (this.readUint32(offset) ^ value) >>> 0);
    else if (kind === 2) this.writeUint32(offset, (this.readUint32(offset) | value) >>> 0);
    else this.writeUint32(offset, (this.readUint32(offset) & ~value) >>> 0);
  }
}

/** Keeps what is written, and does nothing. */
export class Memory extends Registers {
  constructor(initial = {}) {
    super();
    this.values = new Map(Object.entries(initial).map(([offset, value]) => [Number(offset), value]));
  }

  readUint32(offset) {
    return this.values.get(offset) ?? 0;
  }

  writeUint32(offset, value) {
    this.values.set(offset, value);
  }
}
