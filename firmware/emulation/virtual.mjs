// As fast as this computer can: what the board sends goes into a file, and is the same in every run.

import fs from 'node:fs';

/**
 * @param options seconds: true time to run; out: file for what the serial port sends, usbOut for USB; stamps: file of
 *   doubles, the true time at which every byte of `out` had been sent; truth: file of doubles, the true time of every
 *   inertial sample; all times in seconds
 */
export function runVirtual(board, options, report) {
  const sent = [];
  const stamps = [];
  const usb = [];
  const samples = [];
  const exposures = [];
  board.onSerialByte = (byte) => {
    sent.push(byte);
    if (options.stamps) stamps.push(board.trueSeconds);
  };
  board.onUsbBytes = (bytes) => usb.push(...bytes);
  board.imu.onSample = (trueNanos) => samples.push(trueNanos / 1e9);
  board.camera.onExposure = (from, to) => exposures.push([from / 1e9, to / 1e9]);
  const began = process.hrtime.bigint();
  board.powerOn();
  // In steps, because the skew may change on the way.
  const end = options.seconds * 1e9;
  while (board.skew.trueNanos < end) {
    const step = Math.min(end, board.skew.trueNanos + 10e6);
    board.chip.run(Math.max(board.skew.boardAt(step), board.clock.nanos + 1));
  }
  if (options.out) fs.writeFileSync(options.out, Uint8Array.from(sent));
  if (options.usbOut) fs.writeFileSync(options.usbOut, Uint8Array.from(usb));
  const doubles = (path, values) => fs.writeFileSync(path, new Uint8Array(Float64Array.from(values).buffer));
  if (options.stamps) doubles(options.stamps, stamps);
  if (options.truth) doubles(options.truth, samples);
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const cpu = process.cpuUsage();
  const cost = { took_s: seconds, cpu_s: (cpu.user + cpu.system) / 1e6 };
  report({ event: 'end', ...board.summary(), exposures_t_s: exposures, ...cost });
}
