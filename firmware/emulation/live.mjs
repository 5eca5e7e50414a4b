// In real time, on ptys whose master ends a parent has opened and handed over.

import fs from 'node:fs';

const TURN_NANOS = 1e6; // how often cables are looked at
const CATCH_UP_NANOS = 20e6; // at most, before they are looked at again
const TOO_LATE_NANOS = 5e9; // further behind, the board's clock is let slip instead of running to catch up
const BACKLOG = 64 * 1024; // bytes the host's driver keeps for a reader that is slow

Error.stackTraceLimit = 0; // an empty pty is an exception, a thousand times a second

/** One end of a pty, seen from the cable. */
class Port {
  constructor(fd) {
    this.fd = fd;
    this.open = false; // whether somebody has the other end open
    this.pending = [];
    this.unread = 0;
    this.lost = 0;
    this.buffer = Buffer.alloc(4096);
  }

  take(bytes) {
    if (!this.open) return;
    if (this.unread + bytes.length > BACKLOG) {
      this.lost += bytes.length;
      return;
    }
    this.pending.push(Buffer.from(bytes));
    this.unread += bytes.length;
  }

  flush() {
    if (!this.unread) return;
    const all = Buffer.concat(this.pending);
    let written = 0;
    try {
      written = fs.writeSync(this.fd, all);
    } catch (error) {
      if (error.code !== 'EAGAIN') this.open = false;
    }
    const rest = this.open ? all.subarray(written) : Buffer.alloc(0);
    this.pending = rest.length ? [rest] : [];
    this.unread = rest.length;
  }

  /** What the host has written since. */
  read() {
    try {
      const count = fs.readSync(this.fd, this.buffer, 0, this.buffer.length, null);
      this.open = true;
      return this.buffer.subarray(0, count);
    } catch (error) {
      this.open = error.code === 'EAGAIN'; // EIO: nobody has it open
      return null;
    }
  }
}

/** @param options serialFd, usbFd: master ends of ptys, not blocking */
export function runLive(board, options, report) {
  const serial = options.serialFd === undefined ? null : new Port(options.serialFd);
  const usb = options.usbFd === undefined ? null : new Port(options.usbFd);
  let start = process.hrtime.bigint();
  const now = () => Number(process.hrtime.bigint() - start);
  let queue = [];
  board.onSerialByte = (byte) => queue.push(byte);
  board.onUsbBytes = (bytes) => usb?.take(bytes);

  // What the host wrote reaches the board when the board's time has come to this moment, and not in its past: a board
  // that catches up would otherwise answer before it was asked.
  const arrives = (heard, send) => {
    if (!heard?.length) return;
    const bytes = Buffer.from(heard);
    board.clock.createAlarm(() => send(bytes)).schedule(board.skew.boardAt(now()) - board.clock.nanos);
  };

  const exchange = () => {
    if (serial) {
      arrives(serial.read(), (bytes) => board.hostSends(bytes));
      if (queue.length) serial.take(queue);
      serial.flush();
    }
    queue = [];
    if (usb) {
      arrives(usb.read(), (bytes) => board.usbHostSends(bytes));
      if (usb.open !== board.usbOpen) board.setUsbOpen(usb.open);
      usb.flush();
    }
  };

  let mostBehind = 0;
  let slipped = 0;
  board.powerOn();

  const turn = () => {
    let behind = now() - board.skew.trueNanos;
    if (behind > TOO_LATE_NANOS) {
      start += BigInt(Math.round(behind));
      slipped += behind;
      behind = 0;
    }
    mostBehind = Math.max(mostBehind, behind);
    const until = Math.min(now(), board.skew.trueNanos + CATCH_UP_NANOS);
    while (board.skew.trueNanos < until) {
      exchange();
      const step = Math.min(until, board.skew.trueNanos + TURN_NANOS);
      board.chip.run(Math.max(board.skew.boardAt(step), board.clock.nanos + 1));
    }
    exchange();
    if (now() - board.skew.trueNanos > TURN_NANOS) setImmediate(turn);
    else setTimeout(turn, 1);
  };

  const end = () => {
    if (options.flash) fs.writeFileSync(options.flash, board.chip.flashBytes);
    const cpu = process.cpuUsage();
    report({
      event: 'end',
      ...board.summary(),
      ran_s: board.trueSeconds,
      most_behind_s: mostBehind / 1e9,
      slipped_s: slipped / 1e9,
      unread_bytes_lost: (serial?.lost ?? 0) + (usb?.lost ?? 0),
      cpu_s: (cpu.user + cpu.system) / 1e6,
    });
    process.exit(0);
  };

  listen(board, report, end);
  report({ event: 'running' });
  turn();
}

/** Lines of a script on stdin, done at once; its end is the board's. */
function listen(board, report, end) {
  let text = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (more) => {
    const lines = (text + more).split('\n');
    text = lines.pop();
    for (const line of lines.filter((one) => one.trim())) {
      try {
        board.do(JSON.parse(line));
        report({ event: 'done', line: JSON.parse(line) });
      } catch (error) {
        report({ event: 'refused', text: error.message });
      }
    }
  });
  process.stdin.on('end', end);
  process.on('SIGTERM', end);
}
