// Time in an emulation, in nanoseconds of the board's own crystal. It moves only when somebody moves it.

class Alarm {
  constructor(clock, callback) {
    this.clock = clock;
    this.callback = callback;
    this.at = 0;
    this.next = null;
    this.scheduled = false;
  }

  /** Call back so many nanoseconds from now, and not at any time asked for before. */
  schedule(inNanos) {
    this.cancel();
    this.clock.insert(this, this.clock.nanos + Math.max(inNanos, 0));
  }

  cancel() {
    if (this.scheduled) this.clock.remove(this);
  }
}

/** Since the emulation began, through every reboot of the board. */
export class Clock {
  constructor() {
    this.nanos = 0;
    this.next = null; // alarms, the soonest first
  }

  createAlarm(callback) {
    return new Alarm(this, callback);
  }

  insert(alarm, at) {
    let before = null;
    let after = this.next;
    while (after && after.at <= at) {
      before = after;
      after = after.next;
    }
    alarm.at = at;
    alarm.next = after;
    alarm.scheduled = true;
    if (before) before.next = alarm;
    else this.next = alarm;
  }

  remove(alarm) {
    alarm.scheduled = false;
    if (this.next === alarm) {
      this.next = alarm.next;
      return;
    }
    let before = this.next;
    while (before.next !== alarm) before = before.next;
    before.next = alarm.next;
  }

  /** Move on to a time, ringing what is due on the way. */
  moveTo(nanos) {
    while (this.next && this.next.at <= nanos) {
      const alarm = this.next;
      this.next = alarm.next;
      alarm.scheduled = false;
      this.nanos = Math.max(this.nanos, alarm.at);
      alarm.callback();
    }
    this.nanos = nanos;
  }
}

/** The same clock as the chip counts it: from its last boot. Its alarms end with that boot. */
export class SinceBoot {
  constructor(clock) {
    this.clock = clock;
    this.bootNanos = clock.nanos;
    this.alarms = [];
  }

  get nanos() {
    return this.clock.nanos - this.bootNanos;
  }

  get micros() {
    return this.nanos / 1000;
  }

  createAlarm(callback) {
    const alarm = this.clock.createAlarm(callback);
    this.alarms.push(alarm);
    return alarm;
  }

  end() {
    for (const alarm of this.alarms) alarm.cancel();
  }
}

/** How true time and the board's crystal run apart. */
export class Skew {
  constructor(clock, ppm = 0) {
    this.clock = clock;
    this.rate = 1 + ppm * 1e-6;
    this.board = 0;
    this.true = 0;
  }

  set(ppm) {
    this.true = this.trueNanos;
    this.board = this.clock.nanos;
    this.rate = 1 + ppm * 1e-6;
  }

  /** True time since the emulation began. */
  get trueNanos() {
    return this.true + (this.clock.nanos - this.board) / this.rate;
  }

  /** When the board's clock will be at a true time. */
  boardAt(trueNanos) {
    return this.board + (trueNanos - this.true) * this.rate;
  }

  /** How long a true duration lasts by the board's clock. */
  boardSpan(trueNanos) {
    return trueNanos * this.rate;
  }
}
