// Numbers that look random and are the same in every run (Marsaglia's xorshift, 32 bits).

export class Random {
  constructor(...seeds) {
    this.state = 0x9e3779b9;
    for (const seed of seeds) this.state = mixed((this.state ^ Number(BigInt(seed) & 0xffffffffn)) >>> 0) || 1;
  }

  bits() {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state;
  }

  /** In [0, 1). */
  uniform() {
    return this.bits() / 2 ** 32;
  }
}

function mixed(x) {
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b);
  return (x ^ (x >>> 16)) >>> 0;
}
