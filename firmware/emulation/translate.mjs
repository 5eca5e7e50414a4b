// Runs of Thumb instructions as JavaScript functions: what an emulated board spends its time in.
//
// A function does the work of the instructions from its address on, up to the first that may sleep, trap or leave the
// ordinary. It touches RAM and flash only: before anything else it stops, and `FastCore.step` does that instruction at
// its exact time. It is called only where no alarm can ring and no interrupt can come before it ends, so nobody can
// tell the difference; tests/test_firmware_emulated.py runs both ways and compares the bytes. Code in RAM is taken to
// stay what it is once it is hot, until the next boot.

const FLASH = 0x10000000;
const RAM = 0x20000000;
const RAM_BYTES = 264 * 1024;
const LONGEST = 48; // instructions

const FLAGS = [
  ['Z', '!Z'],
  ['C', '!C'],
  ['N', '!N'],
  ['V', '!V'],
  ['(C&&!Z)', '(!C||Z)'],
  ['(N===V)', '(N!==V)'],
  ['(!Z&&N===V)', '(Z||N!==V)'],
];

const EXTENDS = {
  0b1011001000: '<<16>>16',
  0b1011001001: '<<24>>24',
  0b1011001010: '&65535',
  0b1011001011: '&255',
};

/** `{run, cycles, length}`: run() returns the cycles it took, 0 for nothing done. Null where nothing is to be gained. */
export function translate(address, core, bus) {
  const block = new Block(address, bus);
  while (block.length < LONGEST && block.next()) block.length++;
  if (block.length < 2) return null;
  const body = block.source();
  const make = new Function('core', 'R', 'ram32', 'ram16', 'ram8', 'flash32', 'flash16', 'flash8', body);
  const run = make(core, core.registers, bus.ram32, bus.ram16, bus.ram8, bus.flash32, bus.flash16, bus.mcu.flash);
  // A branch taken on the way costs one more than one that is not.
  return { run, cycles: block.cycles + 1, length: block.length, misses: 0 };
}

class Block {
  constructor(address, bus) {
    this.at = address;
    this.bus = bus;
    this.lines = [];
    this.read = new Set();
    this.dirty = new Set();
    this.flagsDirty = false;
    this.cycles = 0; // up to here, whichever way it came
    this.length = 0;
    this.ended = false;
  }

  source() {
    if (!this.ended) this.lines.push(this.leave(`${this.at | 0}`, this.cycles));
    const registers = [...this.read].map((k) => `let r${k}=R[${k}]|0;`).join('');
    const begin = `let N=core.N,Z=core.Z,C=core.C,V=core.V,a=0,b=0,v=0;${registers}`;
    return `return function(){${begin}\n${this.lines.join('\n')}\n}`;
  }

  /** Translate one more instruction; false where the run of them ends. */
  next() {
    if (this.ended) return false;
    const op = this.half(this.at);
    const line = this.instruction(op);
    if (line === null) return false;
    this.lines.push(line);
    this.at += 2;
    return true;
  }

  half(at) {
    return at >= RAM ? this.bus.ram16[(at - RAM) >> 1] : this.bus.flash16[(at - FLASH) >> 1];
  }

  use(k) {
    this.read.add(k);
    return `r${k}`;
  }

  set(k) {
    this.read.add(k);
    this.dirty.add(k);
    return `r${k}`;
  }

  /** Everything back to where it is kept. */
  save() {
    const registers = [...this.dirty].map((k) => `R[${k}]=r${k};`).join('');
    return registers + (this.flagsDirty ? 'core.N=N;core.Z=Z;core.C=C;core.V=V;' : '');
  }

  leave(to, cycles) {
    return `${this.save()}R[15]=${to};return ${cycles};`;
  }

  stop(when) {
    return `if(${when}){${this.leave(this.at, this.cycles)}}`;
  }

  done(cycles, ...lines) {
    this.cycles += cycles;
    return lines.join('');
  }

  nz(k) {
    this.flagsDirty = true;
    return `N=r${k}<0;Z=r${k}===0;`;
  }

  /** to = x + y with flags; without `to` only the flags. */
  add(to, x, y) {
    this.flagsDirty = true;
    const keep = to === null ? '' : `${this.set(to)}=v;`;
    return this.done(1, `a=${x};b=${y};v=(a+b)|0;N=v<0;Z=v===0;C=(v>>>0)<(a>>>0);V=((a^v)&(b^v))<0;${keep}`);
  }

  subtract(to, x, y) {
    this.flagsDirty = true;
    const keep = to === null ? '' : `${this.set(to)}=v;`;
    return this.done(1, `a=${x};b=${y};v=(a-b)|0;N=v<0;Z=v===0;C=(a>>>0)>=(b>>>0);V=((a^b)&(a^v))<0;${keep}`);
  }

  shift(kind, to, from, by) {
    const x = this.use(from);
    const carry = { '<<': `(${x}>>>${32 - by})&1`, '>>>': `(${x}>>>${by - 1})&1`, '>>': `(${x}>>>${by - 1})&1` }[kind];
    const value = by < 32 ? `(${x}${kind}${by})|0` : kind === '>>' ? `${x}>>31` : '0';
    const flags = by ? `C=(${carry})===1;` : '';
    return this.done(1, flags, `${this.set(to)}=${value};`, this.nz(to));
  }

  load(kind, to, address) {
    const [width, extend] = { 3: [8, '<<24>>24'], 4: [32, ''], 5: [16, ''], 6: [8, ''], 7: [16, '<<16>>16'] }[kind];
    const shift = { 8: 0, 16: 1, 32: 2 }[width];
    const aligned = width === 32 ? '&&(b&3)===0' : '';
    const index = shift ? `b>>>${shift}` : 'b';
    // Dirty only once it is written: a stop before that must not write back what was not loaded.
    const stop = this.stop('true');
    const name = this.set(to);
    const take = (memory, bytes) => `if((b>>>0)<${bytes}${aligned})${name}=(${memory}${width}[${index}]${extend})|0;`;
    const fromRam = `a=${address};b=(a-${RAM})|0;${take('ram', RAM_BYTES)}`;
    const fromFlash = `b=(a-${FLASH})|0;${take('flash', this.bus.flashBytes)}`;
    return this.done(2, `${fromRam}else{${fromFlash}else{${stop}}}`);
  }

  store(kind, from, address) {
    const width = [32, 16, 8][kind];
    const shift = { 8: 0, 16: 1, 32: 2 }[width];
    const aligned = width === 32 ? '&&(b&3)===0' : '';
    const value = this.use(from);
    const put = `if((b>>>0)<${RAM_BYTES}${aligned})ram${width}[b>>>${shift}]=${value};`;
    return this.done(2, `a=${address};b=(a-${RAM})|0;${put}else{${this.stop('true')}}`);
  }

  /** Word `k` of a list that begins at the address in `b`, an offset into RAM. */
  listInRam(base, bytes) {
    return `a=${base};b=(a-${RAM})|0;${this.stop(`(b>>>0)>${RAM_BYTES - bytes}||(b&3)!==0`)}b>>>=2;`;
  }

  instruction(op) {
    const low = op & 7;
    const middle = (op >> 3) & 7;
    const high = (op >> 6) & 7;
    const wide = (op >> 8) & 7;
    const imm5 = (op >> 6) & 31;
    const imm8 = op & 0xff;
    const sp = (offset) => `(${this.use(13)}+${offset})|0`;
    const from = (offset) => `(${this.use(middle)}+${offset})|0`;
    switch (op >> 11) {
      case 0b00000:
        return this.shift('<<', low, middle, imm5);
      case 0b00001:
        return this.shift('>>>', low, middle, imm5 || 32);
      case 0b00010:
        return this.shift('>>', low, middle, imm5 || 32);
      case 0b00011: {
        const other = op & 0x400 ? `${high}` : this.use(high);
        return op & 0x200 ? this.subtract(low, this.use(middle), other) : this.add(low, this.use(middle), other);
      }
      case 0b00100:
        return this.done(1, `${this.set(wide)}=${imm8};`, this.nz(wide));
      case 0b00101:
        return this.subtract(null, this.use(wide), imm8);
      case 0b00110:
        return this.add(wide, this.use(wide), imm8);
      case 0b00111:
        return this.subtract(wide, this.use(wide), imm8);
      case 0b01000:
        return op & 0x400 ? this.special(op) : this.dataProcessing((op >> 6) & 15, low, middle);
      case 0b01001: {
        const at = ((this.at + 4) & ~3) + 4 * imm8;
        const value = at >= RAM ? `ram32[${(at - RAM) >> 2}]|0` : `${this.bus.flash32[(at - FLASH) >> 2] | 0}`;
        return this.done(2, `${this.set(wide)}=${value};`);
      }
      case 0b01010:
      case 0b01011: {
        const kind = (op >> 9) & 7;
        const address = `(${this.use(middle)}+${this.use(high)})|0`;
        return kind < 3 ? this.store(kind, low, address) : this.load(kind, low, address);
      }
      case 0b01100:
        return this.store(0, low, from(4 * imm5));
      case 0b01101:
        return this.load(4, low, from(4 * imm5));
      case 0b01110:
        return this.store(2, low, from(imm5));
      case 0b01111:
        return this.load(6, low, from(imm5));
      case 0b10000:
        return this.store(1, low, from(2 * imm5));
      case 0b10001:
        return this.load(5, low, from(2 * imm5));
      case 0b10010:
        return this.store(0, wide, sp(4 * imm8));
      case 0b10011:
        return this.load(4, wide, sp(4 * imm8));
      case 0b10100:
        return this.done(1, `${this.set(wide)}=${(((this.at + 4) & ~3) + 4 * imm8) | 0};`);
      case 0b10101:
        return this.done(1, `${this.set(wide)}=${sp(4 * imm8)};`);
      case 0b10110:
      case 0b10111:
        return this.miscellaneous(op, low, middle);
      case 0b11000:
        return this.storeMany(wide, imm8);
      case 0b11001:
        return this.loadMany(wide, imm8);
      case 0b11010:
      case 0b11011: {
        const condition = (op >> 8) & 15;
        if (condition > 13) return null;
        const to = this.at + 4 + ((imm8 << 24) >> 23);
        const taken = this.leave(to, this.cycles + 2);
        return this.done(1, `if(${FLAGS[condition >> 1][condition & 1]}){${taken}}`);
      }
      case 0b11100:
        return this.end(2, `${this.at + 4 + ((op << 21) >> 20)}`);
      case 0b11110:
        return this.longBranch(op);
      default:
        return null;
    }
  }

  end(cycles, to) {
    this.ended = true;
    this.cycles += cycles;
    return this.leave(to, this.cycles);
  }

  dataProcessing(kind, to, from) {
    const y = this.use(from);
    const x = this.use(to);
    const logical = (value) => this.done(1, `${this.set(to)}=${value};`, this.nz(to));
    switch (kind) {
      case 0b0000:
        return logical(`${x}&${y}`);
      case 0b0001:
        return logical(`${x}^${y}`);
      case 0b0010:
        return this.done(
          1,
          `a=${y}&255;if(a>0){C=a<=32&&((${x}>>>(32-a))&1)===1;${this.set(to)}=a<32?${x}<<a:0;}`,
          this.nz(to),
        );
      case 0b0011:
        return this.done(
          1,
          `a=${y}&255;if(a>0){C=a<=32&&((${x}>>>(a-1))&1)===1;${this.set(to)}=a<32?(${x}>>>a)|0:0;}`,
          this.nz(to),
        );
      case 0b0100:
        return this.done(
          1,
          `a=${y}&255;if(a>0){C=a<=32?((${x}>>>(a-1))&1)===1:${x}<0;${this.set(to)}=${x}>>(a<32?a:31);}`,
          this.nz(to),
        );
      case 0b0101: // with carry: the sum of three may need 33 bits
      case 0b0110: {
        this.flagsDirty = true;
        const other = kind === 0b0101 ? y : `~${y}`;
        const sum = `a=${x};b=${other};v=(a+b+(C?1:0))|0;C=(a>>>0)+(b>>>0)+(C?1:0)>4294967295;`;
        return this.done(1, sum, `N=v<0;Z=v===0;V=((a^v)&(b^v))<0;${this.set(to)}=v;`);
      }
      case 0b1000:
        this.flagsDirty = true;
        return this.done(1, `v=${x}&${y};N=v<0;Z=v===0;`);
      case 0b1001:
        return this.subtract(to, 0, y);
      case 0b1010:
        return this.subtract(null, x, y);
      case 0b1011:
        return this.add(null, x, y);
      case 0b1100:
        return logical(`${x}|${y}`);
      case 0b1101:
        return logical(`Math.imul(${x},${y})`);
      case 0b1110:
        return logical(`${x}&~${y}`);
      case 0b1111:
        return logical(`~${y}`);
      default:
        return null; // ROR
    }
  }

  special(op) {
    const to = ((op >> 4) & 8) | (op & 7);
    const from = (op >> 3) & 15;
    const kind = (op >> 8) & 3;
    if (kind === 3) {
      if (from === 15 || op & 7) return null;
      const target = this.use(from);
      if (op & 0x80) {
        const save = `v=${target};${this.set(14)}=${(this.at + 2) | 1};`;
        return save + this.end(2, 'v&~1');
      }
      return this.exchange(`${target}`, 2);
    }
    if (to === 15 || from === 15 || to === 13) return null;
    if (kind === 0) return this.done(1, `${this.set(to)}=(${this.use(to)}+${this.use(from)})|0;`);
    if (kind === 1) return this.subtract(null, this.use(to), this.use(from));
    return this.done(1, `${this.set(to)}=${this.use(from)};`);
  }

  /** BX and POP {PC}: out of an interrupt too. */
  exchange(target, cycles) {
    this.ended = true;
    this.cycles += cycles;
    const outOfInterrupt = `${this.save()}core.BXWritePC(v>>>0);return ${this.cycles};`;
    return `v=${target};if((v>>>28)===15){${outOfInterrupt}}${this.leave('v&~1', this.cycles)}`;
  }

  miscellaneous(op, to, from) {
    const extend = EXTENDS[op >> 6];
    if (extend) return this.done(1, `${this.set(to)}=${this.use(from)}${extend};`);
    if (op >> 8 === 0b10110000) {
      const by = (op & 0x80 ? -4 : 4) * (op & 0x7f);
      return this.done(1, `${this.set(13)}=(${this.use(13)}+${by})|0;`);
    }
    if (op >> 9 === 0b1011010) return this.push(op & 0xff, (op & 0x100) !== 0);
    if (op >> 9 === 0b1011110) return this.pop(op & 0xff, (op & 0x100) !== 0);
    return null;
  }

  push(list, withLink) {
    const registers = [...listed(list), ...(withLink ? [14] : [])];
    const bytes = 4 * registers.length;
    const base = this.listInRam(`(${this.use(13)}-${bytes})|0`, bytes);
    const words = registers.map((k, n) => `ram32[b+${n}]=${this.use(k)};`).join('');
    return this.done(1 + listed(list).length, base, words, `${this.set(13)}=a;`);
  }

  pop(list, withPc) {
    const registers = listed(list);
    const bytes = 4 * (registers.length + (withPc ? 1 : 0));
    const base = this.listInRam(this.use(13), bytes);
    const words = registers.map((k, n) => `${this.set(k)}=ram32[b+${n}]|0;`).join('');
    const lines = `${base}${words}${this.set(13)}=(a+${bytes})|0;`;
    if (!withPc) return this.done(1 + registers.length, lines);
    return lines + this.exchange(`ram32[b+${registers.length}]|0`, 3 + registers.length);
  }

  storeMany(base, list) {
    const registers = listed(list);
    const check = this.listInRam(this.use(base), 4 * registers.length);
    const words = registers.map((k, n) => `ram32[b+${n}]=${this.use(k)};`).join('');
    return this.done(1 + registers.length, check, words, `${this.set(base)}=(a+${4 * registers.length})|0;`);
  }

  loadMany(base, list) {
    const registers = listed(list);
    const check = this.listInRam(this.use(base), 4 * registers.length);
    const words = registers.map((k, n) => `${this.set(k)}=ram32[b+${n}]|0;`).join('');
    const back = registers.includes(base) ? '' : `${this.set(base)}=(a+${4 * registers.length})|0;`;
    return this.done(1 + registers.length, check, words, back);
  }

  longBranch(op) {
    const second = this.half(this.at + 2);
    if ((second & 0xd000) !== 0xd000) return null;
    const sign = (op >> 10) & 1;
    const i1 = 1 ^ ((second >> 13) & 1) ^ sign;
    const i2 = 1 ^ ((second >> 11) & 1) ^ sign;
    const by = ((sign ? 0xff : 0) << 24) | (i1 << 23) | (i2 << 22) | ((op & 0x3ff) << 12) | ((second & 0x7ff) << 1);
    return `${this.set(14)}=${(this.at + 4) | 1};` + this.end(3, `${this.at + 4 + by}`);
  }
}

const listed = (list) => [0, 1, 2, 3, 4, 5, 6, 7].filter((k) => (list >> k) & 1);
