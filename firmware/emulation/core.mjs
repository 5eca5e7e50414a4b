// A Cortex-M0+ that decodes each instruction once: rp2040js's core, several times as fast.
//
// Every 16-bit opcode becomes a function the first time it is met. What is rare (system registers, barriers, hints)
// is left to rp2040js's own `executeInstruction`. Semantics: ARMv6-M Architecture Reference Manual, A6.7. Cycles are
// counted as rp2040js counts them.

import { translate } from './translate.mjs';

const RAM = 0x20000000;
const RAM_BYTES = 264 * 1024;
const FLASH = 0x10000000;
const APB = 0x40000000;
const AHB = 0x50000000;
const SIO = 0xd0000000;
const SIO_END = 0xe0000000;
const SP = 13;
const LR = 14;
const PC = 15;

/** Memory of a chip by the word, past rp2040js's search for who is at an address. */
class Bus {
  constructor(mcu) {
    this.mcu = mcu;
    this.ram8 = mcu.sram;
    this.ram16 = new Uint16Array(mcu.sram.buffer);
    this.ram32 = new Uint32Array(mcu.sram.buffer);
    this.flash16 = new Uint16Array(mcu.flash.buffer);
    this.flash32 = new Uint32Array(mcu.flash.buffer);
    this.flashBytes = mcu.flash.length;
  }

  fetch(address) {
    const offset = address - FLASH;
    if (offset >= 0 && offset < this.flashBytes) return this.flash16[offset >> 1];
    return this.read16(address);
  }

  read32(address) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES && (offset & 3) === 0) return this.ram32[offset >> 2];
    const inFlash = address - FLASH;
    if (inFlash >= 0 && inFlash < this.flashBytes && (inFlash & 3) === 0) return this.flash32[inFlash >> 2];
    return this.mcu.readUint32(address);
  }

  read16(address) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES) return this.ram16[offset >> 1];
    return this.mcu.readUint16(address);
  }

  read8(address) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES) return this.ram8[offset];
    return this.mcu.readUint8(address);
  }

  write32(address, value) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES && (offset & 3) === 0) this.ram32[offset >> 2] = value;
    else this.mcu.writeUint32(address, value);
  }

  write16(address, value) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES) this.ram16[offset >> 1] = value;
    else this.mcu.writeUint16(address, value);
  }

  write8(address, value) {
    const offset = address - RAM;
    if (offset >= 0 && offset < RAM_BYTES) this.ram8[offset] = value;
    else this.mcu.writeUint8(address, value & 0xff);
  }
}

const readCycles = (address) => (address >= SIO && address < SIO_END ? 1 : address >= APB && address < AHB ? 4 : 2);
const writeCycles = (address) => (address >= SIO && address < SIO_END ? 1 : address >= APB && address < AHB ? 5 : 2);

const HOT = 4000; // times an address is come to before it is worth translating
const MISSES = 20;
const PROGRAM_BYTES = 256 * 1024; // of the flash; beyond, nothing is translated
const CODE_HALVES = (PROGRAM_BYTES + RAM_BYTES) >> 1;

export class FastCore {
  constructor(mcu) {
    this.core = mcu.core;
    this.bus = new Bus(mcu);
    this.decoded = new Array(0x10000).fill(null);
    this.forget();
  }

  /** The flash holds something else now. */
  forget() {
    this.visits = new Uint16Array(CODE_HALVES);
    this.blocks = new Array(CODE_HALVES).fill(null);
  }

  /** Where the core is, counted in half-words: the flash's first, then RAM; -1 elsewhere. */
  place() {
    const pc = this.core.registers[PC];
    const inFlash = pc - FLASH;
    if (inFlash >= 0 && inFlash < PROGRAM_BYTES) return inFlash >> 1;
    const inRam = pc - RAM;
    return inRam >= 0 && inRam < RAM_BYTES ? (PROGRAM_BYTES + inRam) >> 1 : -1;
  }

  /** A translated run of instructions that begins where the core is, if there is one. */
  block() {
    const k = this.place();
    if (k < 0) return null;
    const block = this.blocks[k];
    if (block === null && this.visits[k] < HOT && ++this.visits[k] === HOT) {
      this.blocks[k] = translate(this.core.registers[PC] & ~1, this.core, this.bus);
    }
    return block;
  }

  /** It did nothing: at its very beginning it reaches for a peripheral. After a few times it is given up. */
  useless(block) {
    if (++block.misses > MISSES) this.blocks[this.place()] = null;
  }

  /** One instruction, or the entry into an interrupt and its first; returns its cycles. */
  step() {
    const { core } = this;
    if (core.interruptsUpdated && core.checkForInterrupts()) core.waiting = false;
    const r = core.registers;
    const pc = r[PC] & ~1;
    const opcode = this.bus.fetch(pc);
    const operation = this.decoded[opcode] ?? (this.decoded[opcode] = decode(opcode));
    r[PC] = pc + 2;
    return operation(core, r, this.bus);
  }
}

function setNZ(core, result) {
  core.N = result < 0;
  core.Z = result === 0;
}

/** a + b + carry with all four flags; a and b unsigned. */
function add(core, a, b, carry) {
  const sum = a + b + carry;
  const result = sum | 0;
  core.N = result < 0;
  core.Z = result === 0;
  core.C = sum > 0xffffffff;
  core.V = ((a ^ result) & (b ^ result)) < 0;
  return result;
}

const subtract = (core, a, b) => add(core, a, ~b >>> 0, 1);

/** Shift left, right or right with sign by 0 .. 255; sets N, Z, and C where anything is shifted. */
function shift(core, kind, value, by) {
  let result = value | 0;
  if (by > 0) {
    const n = Math.min(by, 33);
    if (kind === 'left') {
      core.C = n <= 32 && ((value >>> (32 - n)) & 1) === 1;
      result = n < 32 ? value << n : 0;
    } else if (kind === 'right') {
      core.C = n <= 32 && ((value >>> (n - 1)) & 1) === 1;
      result = n < 32 ? value >>> n : 0;
    } else {
      core.C = n <= 32 ? ((value >>> (n - 1)) & 1) === 1 : (value | 0) < 0;
      result = value >> Math.min(n, 31);
    }
  }
  setNZ(core, result | 0);
  return result;
}

const CONDITIONS = [
  (c) => c.Z,
  (c) => !c.Z,
  (c) => c.C,
  (c) => !c.C,
  (c) => c.N,
  (c) => !c.N,
  (c) => c.V,
  (c) => !c.V,
  (c) => c.C && !c.Z,
  (c) => !c.C || c.Z,
  (c) => c.N === c.V,
  (c) => c.N !== c.V,
  (c) => !c.Z && c.N === c.V,
  (c) => c.Z || c.N !== c.V,
];

/** Left to rp2040js. */
function rare(core, r) {
  r[PC] -= 2;
  return core.executeInstruction();
}

function decode(op) {
  const low = op & 7;
  const middle = (op >> 3) & 7;
  const high = (op >> 6) & 7;
  const wide = (op >> 8) & 7;
  const imm5 = (op >> 6) & 31;
  const imm8 = op & 0xff;
  switch (op >> 11) {
    case 0b00000:
      return shiftImmediate('left', low, middle, imm5);
    case 0b00001:
      return shiftImmediate('right', low, middle, imm5 || 32);
    case 0b00010:
      return shiftImmediate('arithmetic', low, middle, imm5 || 32);
    case 0b00011:
      return addOrSubtract((op >> 9) & 3, low, middle, high);
    case 0b00100:
      return (core, r) => {
        r[wide] = imm8;
        setNZ(core, imm8);
        return 1;
      };
    case 0b00101:
      return (core, r) => {
        subtract(core, r[wide], imm8);
        return 1;
      };
    case 0b00110:
      return (core, r) => {
        r[wide] = add(core, r[wide], imm8, 0);
        return 1;
      };
    case 0b00111:
      return (core, r) => {
        r[wide] = subtract(core, r[wide], imm8);
        return 1;
      };
    case 0b01000:
      return (op & 0x400) === 0 ? dataProcessing((op >> 6) & 15, low, middle) : special(op);
    case 0b01001:
      return (core, r, bus) => {
        r[wide] = bus.read32(((r[PC] + 2) & ~3) + 4 * imm8);
        return 2;
      };
    case 0b01010:
    case 0b01011:
      return access((op >> 9) & 7, low, (r) => (r[middle] + r[high]) >>> 0);
    case 0b01100:
      return access(0, low, (r) => (r[middle] + 4 * imm5) >>> 0);
    case 0b01101:
      return access(4, low, (r) => (r[middle] + 4 * imm5) >>> 0);
    case 0b01110:
      return access(2, low, (r) => (r[middle] + imm5) >>> 0);
    case 0b01111:
      return access(6, low, (r) => (r[middle] + imm5) >>> 0);
    case 0b10000:
      return access(1, low, (r) => (r[middle] + 2 * imm5) >>> 0);
    case 0b10001:
      return access(5, low, (r) => (r[middle] + 2 * imm5) >>> 0);
    case 0b10010:
      return access(0, wide, (r) => (r[SP] + 4 * imm8) >>> 0);
    case 0b10011:
      return access(4, wide, (r) => (r[SP] + 4 * imm8) >>> 0);
    case 0b10100:
      return (core, r) => {
        r[wide] = ((r[PC] + 2) & ~3) + 4 * imm8;
        return 1;
      };
    case 0b10101:
      return (core, r) => {
        r[wide] = r[SP] + 4 * imm8;
        return 1;
      };
    case 0b10110:
    case 0b10111:
      return miscellaneous(op, low, middle);
    case 0b11000:
      return storeMany(wide, imm8);
    case 0b11001:
      return loadMany(wide, imm8);
    case 0b11010:
    case 0b11011:
      return conditionalBranch((op >> 8) & 15, ((imm8 << 24) >> 23) + 2);
    case 0b11100: {
      const by = ((op << 21) >> 20) + 2;
      return (core, r) => {
        r[PC] += by;
        return 2;
      };
    }
    case 0b11110:
      return longBranch(op);
    default:
      return rare;
  }
}

function shiftImmediate(kind, to, from, by) {
  return (core, r) => {
    r[to] = shift(core, kind, r[from], by);
    return 1;
  };
}

function addOrSubtract(kind, to, from, other) {
  switch (kind) {
    case 0:
      return (core, r) => {
        r[to] = add(core, r[from], r[other], 0);
        return 1;
      };
    case 1:
      return (core, r) => {
        r[to] = subtract(core, r[from], r[other]);
        return 1;
      };
    case 2:
      return (core, r) => {
        r[to] = add(core, r[from], other, 0);
        return 1;
      };
    default:
      return (core, r) => {
        r[to] = subtract(core, r[from], other);
        return 1;
      };
  }
}

function dataProcessing(kind, to, from) {
  const logical = (operation) => (core, r) => {
    const result = operation(r[to] | 0, r[from] | 0);
    r[to] = result;
    setNZ(core, result);
    return 1;
  };
  const shifts = (direction) => (core, r) => {
    r[to] = shift(core, direction, r[to], r[from] & 0xff);
    return 1;
  };
  switch (kind) {
    case 0b0000:
      return logical((a, b) => a & b);
    case 0b0001:
      return logical((a, b) => a ^ b);
    case 0b0010:
      return shifts('left');
    case 0b0011:
      return shifts('right');
    case 0b0100:
      return shifts('arithmetic');
    case 0b0101:
      return (core, r) => {
        r[to] = add(core, r[to], r[from], core.C ? 1 : 0);
        return 1;
      };
    case 0b0110:
      return (core, r) => {
        r[to] = add(core, r[to], ~r[from] >>> 0, core.C ? 1 : 0);
        return 1;
      };
    case 0b0111:
      return (core, r) => {
        const by = r[from] & 0xff;
        const n = by & 31;
        const result = n ? (r[to] >>> n) | (r[to] << (32 - n)) : r[to] | 0;
        r[to] = result;
        if (by) core.C = result < 0;
        setNZ(core, result);
        return 1;
      };
    case 0b1000:
      return (core, r) => {
        setNZ(core, r[to] & r[from]);
        return 1;
      };
    case 0b1001:
      return (core, r) => {
        r[to] = subtract(core, 0, r[from]);
        return 1;
      };
    case 0b1010:
      return (core, r) => {
        subtract(core, r[to], r[from]);
        return 1;
      };
    case 0b1011:
      return (core, r) => {
        add(core, r[to], r[from], 0);
        return 1;
      };
    case 0b1100:
      return logical((a, b) => a | b);
    case 0b1101:
      return logical(Math.imul);
    case 0b1110:
      return logical((a, b) => a & ~b);
    default:
      return logical((a, b) => ~b);
  }
}

/** Those that reach the high registers: ADD, CMP, MOV, BX, BLX. */
function special(op) {
  const to = ((op >> 4) & 8) | (op & 7);
  const from = (op >> 3) & 15;
  const kind = (op >> 8) & 3;
  if (kind === 3 || to === PC || from === PC || to === SP) {
    if (kind === 3 && from !== PC && (op & 7) === 0) return branchExchange(from, (op & 0x80) !== 0);
    return rare;
  }
  switch (kind) {
    case 0:
      return (core, r) => {
        r[to] = r[to] + r[from];
        return 1;
      };
    case 1:
      return (core, r) => {
        subtract(core, r[to], r[from]);
        return 1;
      };
    default:
      return (core, r) => {
        r[to] = r[from];
        return 1;
      };
  }
}

function branchExchange(from, link) {
  return (core, r) => {
    const to = r[from];
    if (link) {
      r[LR] = r[PC] | 1;
      r[PC] = to & ~1;
    } else core.BXWritePC(to);
    return 2;
  };
}

const LOAD = 4; // kinds from here on, and 3, read

/** A load or store; `kind` as bits 11 .. 9 of those with a register offset number them. */
function access(kind, register, addressOf) {
  const write = [
    (bus, address, value) => bus.write32(address, value),
    (bus, address, value) => bus.write16(address, value),
    (bus, address, value) => bus.write8(address, value),
  ][kind];
  if (write) {
    return (core, r, bus) => {
      const address = addressOf(r);
      write(bus, address, r[register]);
      return writeCycles(address);
    };
  }
  const read = {
    3: (bus, address) => (bus.read8(address) << 24) >> 24,
    [LOAD]: (bus, address) => bus.read32(address),
    5: (bus, address) => bus.read16(address),
    6: (bus, address) => bus.read8(address),
    7: (bus, address) => (bus.read16(address) << 16) >> 16,
  }[kind];
  return (core, r, bus) => {
    const address = addressOf(r);
    r[register] = read(bus, address);
    return readCycles(address);
  };
}

function miscellaneous(op, to, from) {
  switch (op >> 6) {
    case 0b1011001000:
      return (core, r) => {
        r[to] = (r[from] << 16) >> 16;
        return 1;
      };
    case 0b1011001001:
      return (core, r) => {
        r[to] = (r[from] << 24) >> 24;
        return 1;
      };
    case 0b1011001010:
      return (core, r) => {
        r[to] = r[from] & 0xffff;
        return 1;
      };
    case 0b1011001011:
      return (core, r) => {
        r[to] = r[from] & 0xff;
        return 1;
      };
  }
  if (op >> 8 === 0b10110000) {
    const by = (op & 0x80 ? -4 : 4) * (op & 0x7f);
    return (core, r) => {
      r[SP] += by;
      return 1;
    };
  }
  if (op >> 9 === 0b1011010) return push(op & 0xff, (op & 0x100) !== 0);
  if (op >> 9 === 0b1011110) return pop(op & 0xff, (op & 0x100) !== 0);
  return rare;
}

const listed = (list) => [0, 1, 2, 3, 4, 5, 6, 7].filter((k) => (list >> k) & 1);

function push(list, withLink) {
  const registers = withLink ? [...listed(list), LR] : listed(list);
  const cycles = 1 + listed(list).length;
  return (core, r, bus) => {
    let address = (r[SP] -= 4 * registers.length);
    for (let k = 0; k < registers.length; k++, address += 4) bus.write32(address, r[registers[k]]);
    return cycles;
  };
}

function pop(list, withPc) {
  const registers = listed(list);
  const cycles = 1 + registers.length + (withPc ? 2 : 0);
  return (core, r, bus) => {
    let address = r[SP];
    for (let k = 0; k < registers.length; k++, address += 4) r[registers[k]] = bus.read32(address);
    if (withPc) {
      r[SP] = address + 4;
      core.BXWritePC(bus.read32(address));
    } else r[SP] = address;
    return cycles;
  };
}

function storeMany(base, list) {
  const registers = listed(list);
  return (core, r, bus) => {
    let address = r[base];
    for (let k = 0; k < registers.length; k++, address += 4) bus.write32(address, r[registers[k]]);
    r[base] = address;
    return 1 + registers.length;
  };
}

function loadMany(base, list) {
  const registers = listed(list);
  const writeBack = !registers.includes(base);
  return (core, r, bus) => {
    let address = r[base];
    for (let k = 0; k < registers.length; k++, address += 4) r[registers[k]] = bus.read32(address);
    if (writeBack) r[base] = address;
    return 1 + registers.length;
  };
}

function conditionalBranch(condition, by) {
  if (condition > 13) return rare;
  const holds = CONDITIONS[condition];
  return (core, r) => {
    if (!holds(core)) return 1;
    r[PC] += by;
    return 2;
  };
}

/** BL; other 32-bit instructions begin alike. */
function longBranch(op) {
  const sign = (op >> 10) & 1;
  const imm10 = op & 0x3ff;
  return (core, r, bus) => {
    const second = bus.fetch(r[PC]);
    if ((second & 0xd000) !== 0xd000) return rare(core, r);
    const i1 = 1 ^ ((second >> 13) & 1) ^ sign;
    const i2 = 1 ^ ((second >> 11) & 1) ^ sign;
    const by = ((sign ? 0xff : 0) << 24) | (i1 << 23) | (i2 << 22) | (imm10 << 12) | ((second & 0x7ff) << 1);
    r[LR] = (r[PC] + 2) | 1;
    r[PC] += 2 + by;
    return 3;
  };
}
