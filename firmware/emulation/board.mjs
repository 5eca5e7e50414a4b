// A whole board: chip, sensors, camera, button, light and cables, and what may go wrong with each.

import { GPIOPinState } from 'rp2040js';

import { Chip } from './chip.mjs';
import { Clock, Skew } from './clock.mjs';
import { As5600, connect as connectI2c } from './models/as5600.mjs';
import { Button } from './models/button.mjs';
import { Camera } from './models/camera.mjs';
import { Icm42688 } from './models/icm42688.mjs';
import { brightness } from './models/light.mjs';
import { Random } from './random.mjs';
import { UsbHost } from './usb.mjs';
import { Wire } from './wire.mjs';
import { makeWorld } from './world.mjs';

// As firmware/boards/rp2040/pins.h has them.
const PIN = {
  red: 10,
  green: 11,
  blue: 12,
  button: 15,
  miso: 16,
  cs: 17,
  sck: 18,
  mosi: 19,
  imu: 20,
  trigger: 21,
  strobe: 22,
};
const LIGHT_PINS = [PIN.red, PIN.green, PIN.blue];
const I2C_PINS = [26, 27];
const FUNCTION_SPI = 1;
const FUNCTION_I2C = 3;
const LIGHT_LOOK_NANOS = 20e6;

export class Board {
  /**
   * @param image pieces as readImage gives them
   * @param options uid (hex), ppm, seed, signal or felt, imu, encoder, camera: see README.md
   * @param report called with what happens: {event, ...}
   * @param flash what the flash held when the board last lost power, if not just the image
   */
  constructor(image, options, report, flash = null) {
    this.options = options;
    this.report = (event, more = {}) => report({ event, t_s: this.trueSeconds, ...more });
    const uid = (this.uid = BigInt(`0x${options.uid}`));
    const random = (what) => new Random(uid, uid >> 32n, options.seed ?? 0, what);
    this.clock = new Clock();
    this.skew = new Skew(this.clock, options.ppm ?? 0);
    this.world = makeWorld(options, random(1));
    this.levels = { [PIN.imu]: false, [PIN.strobe]: false, [PIN.button]: true };
    const imu = { uid, ...options.imu };
    this.imu = new Icm42688(this.clock, this.skew, this.world, imu, (high) => this.imuPin(high));
    this.encoder = new As5600(() => this.world.jaw(this.skew.trueNanos));
    this.encoder.magnet = options.encoder?.magnet ?? 'ok';
    this.encoderPresent = !options.encoder?.absent;
    this.camera = new Camera(this.clock, this.skew, (high) => this.input(PIN.strobe, high), options.camera);
    this.button = new Button(this.clock, random(2), (high) => this.input(PIN.button, high));
    this.serial = new Wire(random(3), (byte) => this.onSerialByte(byte));
    this.toBoard = new Wire(random(4), (byte) => this.chip.uart?.feed([byte]));
    this.onSerialByte = () => {};
    this.onUsbBytes = () => {};
    this.usbPlugged = options.usb !== undefined;
    this.usbOpen = options.usb === 'open';
    this.light = [0, 0, 0];
    this.look = this.clock.createAlarm(() => this.lookAtLight());
    this.faults = 0;
    const memory = { image, flash, boots: options.bootsBefore ?? 0, translate: options.translate ?? true };
    this.chip = new Chip(this.clock, uid, memory, {
      onByte: (byte) => this.serial.carry(byte),
      onBoot: (mcu, cause) => this.wireUp(mcu, cause),
      onStop: (state) => this.report('stopped', { state }),
      onFault: (text) => {
        if (this.faults++ < 20) this.report('fault', { text });
      },
    });
  }

  get trueSeconds() {
    return this.skew.trueNanos / 1e9;
  }

  powerOn() {
    this.chip.boot('power');
    this.lookAtLight();
  }

  /** The supply breaks down, and comes back: everything on the board forgets. */
  brownOut(seconds) {
    this.chip.stop('off');
    this.imu.reset();
    this.afterTrue(seconds, () => this.chip.boot('power'));
  }

  hostSends(bytes) {
    for (const byte of bytes) this.toBoard.carry(byte);
  }

  usbHostSends(bytes) {
    this.usb?.feed(bytes);
  }

  /** A program on the host opens or closes the USB serial port. */
  setUsbOpen(open) {
    this.usbOpen = open;
    this.usb?.setOpen(open);
  }

  afterTrue(seconds, what) {
    this.clock.createAlarm(what).schedule(this.skew.boardSpan(seconds * 1e9));
  }

  /** Nobody drives it: the chip's own pull decides. */
  imuPin(high) {
    const pulled = this.chip?.state === 'running' && this.chip.mcu.gpio[PIN.imu].pullupEnabled;
    this.input(PIN.imu, high ?? pulled);
  }

  input(pin, high) {
    if (high === this.levels[pin]) return;
    this.levels[pin] = high;
    if (this.chip?.state === 'running') this.chip.mcu.gpio[pin].setInputValue(high);
  }

  wireUp(mcu, cause) {
    for (const [pin, high] of Object.entries(this.levels)) if (high) mcu.gpio[pin].rawInputValue = true;
    const isSpi = () => [PIN.miso, PIN.sck, PIN.mosi].every((pin) => mcu.gpio[pin].functionSelect === FUNCTION_SPI);
    mcu.gpio[PIN.cs].addListener((state) => this.imu.select(state === GPIOPinState.Low));
    const spi = mcu.spi[0];
    let answer = 0xff;
    const done = this.chip.since.createAlarm(() => spi.completeTransmit(answer));
    spi.onTransmit = (byte) => {
      answer = isSpi() ? this.imu.exchange(byte) : 0xff;
      done.schedule((spi.dataBits * 1e9) / spi.clockFrequency);
    };
    const isI2c = () => I2C_PINS.every((pin) => mcu.gpio[pin].functionSelect === FUNCTION_I2C);
    connectI2c(mcu.i2c[1], this.chip.since, () => mcu.clkSys, this.encoder, () => this.encoderPresent && isI2c());
    mcu.gpio[PIN.trigger].addListener((state) => {
      if (state === GPIOPinState.High || state === GPIOPinState.Low) this.camera.trigger(state === GPIOPinState.High);
    });
    this.usb = new UsbHost(mcu, this.usbPlugged, this.usbOpen, (bytes) => this.onUsbBytes(bytes));
    this.report('boot', { cause, boots: this.chip.boots });
  }

  lookAtLight() {
    this.look.schedule(LIGHT_LOOK_NANOS);
    const seen = this.chip.state === 'running' ? brightness(this.chip.mcu, LIGHT_PINS) : [0, 0, 0];
    if (seen.some((value, k) => Math.abs(value - this.light[k]) > 1e-3)) {
      this.light = seen;
      this.report('light', { red: seen[0], green: seen[1], blue: seen[2] });
    }
  }

  /** Do one line of a script: `{"do": ...}`, see README.md. Throws for one that is not known. */
  do(line) {
    const board = (seconds) => this.clock.nanos + this.skew.boardSpan(seconds * 1e9);
    const until = line.for_s === undefined ? Infinity : board(line.for_s);
    const later = (what) => line.for_s !== undefined && this.afterTrue(line.for_s, what);
    switch (line.do) {
      case 'send':
        return this.hostSends(Buffer.from(line.hex, 'hex'));
      case 'send_usb':
        return this.usbHostSends(Buffer.from(line.hex, 'hex'));
      case 'open_usb':
        return this.setUsbOpen(true);
      case 'close_usb':
        return this.setUsbOpen(false);
      case 'press':
        return this.button.press(true);
      case 'release':
        return this.button.press(false);
      case 'bounce_storm':
        return this.button.storm(board(line.for_s ?? 0.5));
      case 'flip_bits': {
        const wire = line.to === 'board' ? this.toBoard : this.serial;
        wire.disturb(line.per_byte);
        return later(() => wire.disturb(0));
      }
      case 'brown_out':
        return this.brownOut(line.off_s ?? 0.1);
      case 'halt':
        return this.chip.halt(board(line.for_s));
      case 'hang':
        return this.chip.hang();
      case 'skew':
        return this.skew.set(line.ppm);
      case 'imu_stuck':
        return this.imu.stick(until);
      case 'imu_interrupt_off':
        return this.imu.hush(until);
      case 'imu_invalid':
        this.imu.invalid = line.samples;
        return;
      case 'imu_identity':
        this.imu.identity = line.value;
        return;
      case 'magnet':
        this.encoder.magnet = line.state;
        return later(() => (this.encoder.magnet = 'ok'));
      case 'encoder_absent':
        this.encoderPresent = false;
        return later(() => (this.encoderPresent = true));
      case 'camera_silent':
        return this.camera.silence(until);
      default:
        throw new Error(`no ${JSON.stringify(line.do)}: see firmware/emulation/README.md`);
    }
  }

  /** Have a script done when its time comes; times are true seconds since the emulation began. */
  schedule(script) {
    for (const line of script) {
      this.clock.createAlarm(() => this.do(line)).schedule(this.skew.boardAt(line.at_s * 1e9) - this.clock.nanos);
    }
  }

  summary() {
    return {
      boots: this.chip.boots,
      state: this.chip.state,
      imu_samples: this.imu.samples,
      imu_lost: this.imu.lost,
      imu_rate_error: this.imu.rateError,
      exposures: this.camera.exposures,
      button_edges: this.button.edges,
      serial_bytes: this.serial.bytes,
      flipped_bits: this.serial.flipped + this.toBoard.flipped,
      usb_connected: this.usb?.connected ?? false,
      uart_tx_lost: this.chip.uart?.txLost ?? 0,
      faults: this.faults,
      instructions: this.chip.instructions,
    };
  }
}
