// One RP2040 with its flash: rp2040js's core and peripherals, and ours where those are too simple.
//
// Counted is one clk_sys cycle for most instructions, as rp2040js counts them; waiting costs nothing. Not modelled:
// cache misses of the flash, the cycles into an interrupt, core 1, peripherals held in reset.

import { RP2040 } from 'rp2040js';

import { BootRom, ENDLESS_LOOP } from './bootrom.mjs';
import { SinceBoot } from './clock.mjs';
import { FastCore } from './core.mjs';
import { FlashChip, IoQspi, Ssi } from './flash.mjs';
import { Pl011 } from './pl011.mjs';
import { Random } from './random.mjs';
import { Memory, Registers } from './registers.mjs';

const FLASH_BASE = 0x10000000;
const FLASH_BYTES = 2 * 1024 * 1024;
const ROM_END = 0x4000;
const BOOT_STACK = 0x20041f00; // where the boot ROM leaves it
const UART0_IRQ = 20;
const UART_TX = 0;
const UART_RX = 1;
const FUNCTION_UART = 2;

const SSI = 0x18000;
const IO_QSPI = 0x40018;
const UART0 = 0x40034;
const WATCHDOG = 0x40058;
const ROSC = 0x40060;
const CHIP_RESET = 0x40064;

const HAD_POR = 1 << 8;
const ROSC_STATUS = 0x18;
const ROSC_RANDOMBIT = 0x1c;
const CHIP_RESET_REASON = 0x08;

class Rosc extends Registers {
  constructor(random) {
    super();
    this.random = random;
  }

  readUint32(offset) {
    if (offset === ROSC_RANDOMBIT) return this.random.bits() >>> 31;
    return offset === ROSC_STATUS ? 0x80001000 : 0;
  }

  writeUint32() {}
}

export class Chip {
  /**
   * @param clock Clock of the emulation
   * @param uid BigInt, the flash chip's unique id
   * @param memory image: pieces as readImage gives them; flash: bytes it holds besides, from an earlier run, or null;
   *   boots: how often it has booted before; translate: whether hot code is translated
   * @param hooks onByte(byte) from the serial port; onBoot(mcu, cause) before the first instruction; onStop(state)
   *   when there are no more; onFault(text) when the program or the emulation goes where it should not
   */
  constructor(clock, uid, { image, flash, boots, translate }, hooks) {
    Object.assign(this, { clock, uid, translate, hooks });
    this.flashBytes = new Uint8Array(FLASH_BYTES).fill(0xff);
    if (flash) this.flashBytes.set(flash);
    for (const [address, bytes] of image) this.flashBytes.set(bytes, address - FLASH_BASE);
    this.boots = boots;
    this.instructions = 0;
    this.state = 'off';
    this.reboot = null;
    this.haltedUntil = -1;
  }

  /** Begin at the image's second stage, as the boot ROM does. `cause`: power, watchdog or forced. */
  boot(cause) {
    this.end();
    this.boots++;
    const since = (this.since = new SinceBoot(this.clock));
    const mcu = new RP2040(since);
    mcu.logger = this.logger();
    // Not a copy: what the program writes to its flash outlives the boot.
    mcu.flash = this.flashBytes;
    mcu.flash16 = new Uint16Array(this.flashBytes.buffer);
    mcu.flashView = new DataView(this.flashBytes.buffer);

    const flash = new FlashChip(this.flashBytes, this.uid);
    const qspi = new IoQspi(flash);
    this.rom = new BootRom(flash, () => this.stop('bootloader'));
    this.rom.load(mcu);
    this.uart = new Pl011(mcu, since, UART0_IRQ, this.hooks.onByte, () => {
      const given = (pin) => mcu.gpio[pin].functionSelect === FUNCTION_UART;
      return given(UART_TX) && given(UART_RX);
    });
    Object.assign(mcu.peripherals, {
      [SSI]: new Ssi(since, flash, qspi),
      [IO_QSPI]: qspi,
      [UART0]: this.uart,
      [ROSC]: new Rosc(new Random(this.uid, this.uid >> 32n, this.boots)),
      [CHIP_RESET]: new Memory({ [CHIP_RESET_REASON]: HAD_POR }),
    });
    this.watch(mcu, cause);
    wakeAsTheRealOneDoes(mcu.core);
    mcu.onBreak = (number) => {
      if (mcu.core.PC < ROM_END) this.rom.call(number, mcu);
      else this.crash(`breakpoint ${number}`);
    };
    this.cycleNanos = 1e9 / mcu.clkSys;
    mcu.addClockListener((hertz) => (this.cycleNanos = 1e9 / hertz));
    mcu.core.PC = FLASH_BASE;
    mcu.core.SP = BOOT_STACK;
    this.mcu = mcu;
    this.fast = new FastCore(mcu);
    flash.onChange = () => this.fast.forget();
    this.state = 'running';
    this.hooks.onBoot(mcu, cause);
  }

  watch(mcu, cause) {
    const before = this.mcu?.peripherals[WATCHDOG];
    const watchdog = mcu.peripherals[WATCHDOG];
    if (cause !== 'power' && before) {
      watchdog.scratchData.set(before.scratchData);
      watchdog.reason = before.reason;
    }
    watchdog.onWatchdogTrigger = () => {
      watchdog.alarm.enable = false; // else rp2040js lets it bite again at once, and for ever
      this.reboot = watchdog.reason === 2 ? 'forced' : 'watchdog';
    };
  }

  logger() {
    const fault = (part, text) => this.hooks.onFault(`${part}: ${text}`);
    return { debug() {}, info() {}, warn: fault, error: fault };
  }

  crash(what) {
    this.hooks.onFault(`${what} at 0x${this.mcu.core.PC.toString(16)}`);
    this.stop('crashed');
  }

  /** No more instructions: `off`, `bootloader` or `crashed`. */
  stop(state) {
    this.end();
    this.state = state;
    this.hooks.onStop(state);
  }

  end() {
    this.since?.end();
    this.state = 'off';
  }

  /** The core stands still for a while, as under a debugger; everything around it goes on. */
  halt(untilNanos) {
    this.haltedUntil = untilNanos;
  }

  /** The program loses its way: a loop without end, and without interrupts. */
  hang() {
    this.mcu.core.PM = true;
    this.mcu.core.waiting = false;
    this.mcu.core.PC = ENDLESS_LOOP;
  }

  /** Let time pass up to `nanos`, with the program running if it does. */
  run(nanos) {
    const { clock } = this;
    while (clock.nanos < nanos) {
      if (this.reboot) {
        const cause = this.reboot;
        this.reboot = null;
        this.boot(cause);
      }
      const awake = this.state === 'running' && clock.nanos >= this.haltedUntil;
      if (awake) this.execute(nanos);
      else clock.moveTo(Math.min(nanos, clock.next ? Math.max(clock.next.at, clock.nanos) : nanos));
    }
  }

  execute(nanos) {
    const { clock } = this;
    const { fast } = this;
    const { core } = this.mcu;
    let count = 0;
    while (clock.nanos < nanos && this.state === 'running' && !this.reboot && clock.nanos >= this.haltedUntil) {
      if (fast !== this.fast) break; // booted anew
      if (core.waiting && core.pendingInterrupts & core.enabledInterrupts) core.waiting = false;
      if (core.waiting) {
        clock.moveTo(clock.next && clock.next.at < nanos ? clock.next.at : nanos);
        continue;
      }
      let cycles = 0;
      const block = core.interruptsUpdated || !this.translate ? null : fast.block();
      if (block && (clock.next === null || clock.next.at > clock.nanos + block.cycles * this.cycleNanos)) {
        cycles = block.run();
        if (cycles === 0) fast.useless(block);
        else count += block.length;
      }
      if (cycles === 0) {
        cycles = fast.step();
        count++;
      }
      const after = clock.nanos + cycles * this.cycleNanos;
      if (clock.next !== null && clock.next.at <= after) clock.moveTo(after);
      else clock.nanos = after;
    }
    this.instructions += count;
  }
}

/**
 * rp2040js sleeps on when an interrupt was pending before WFI, and runs a handler inside a critical section when one
 * comes during it. A Cortex-M0+ wakes in both cases, and runs the handler when PRIMASK allows (ARMv6-M B1.5.19).
 * The other half of this is in `Chip.execute`.
 */
function wakeAsTheRealOneDoes(core) {
  core.setInterrupt = function (irq, value) {
    const bit = 1 << irq;
    if (!value) this.pendingInterrupts &= ~bit;
    else if (!(this.pendingInterrupts & bit)) {
      this.pendingInterrupts |= bit;
      this.interruptsUpdated = true;
      if (this.enabledInterrupts & bit) this.waiting = false;
    }
  };
}
