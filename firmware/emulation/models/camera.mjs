// A camera with a trigger input and a strobe output: exposes while the trigger is high, or for a time of its own.

const LATENCY_NANOS = 35000; // from edge to exposure; tens of microseconds are typical of global-shutter modules

export class Camera {
  /**
   * @param clock, skew of the emulation
   * @param strobe called with the level of the strobe line
   * @param options exposureUs: its own exposure, by default the trigger's length
   */
  constructor(clock, skew, strobe, options = {}) {
    Object.assign(this, { clock, skew, strobe });
    this.ownNanos = options.exposureUs === undefined ? null : options.exposureUs * 1000;
    this.latency = options.latencyUs === undefined ? LATENCY_NANOS : options.latencyUs * 1000;
    this.silentUntil = -1;
    this.exposures = 0;
    this.exposing = false;
    this.onExposure = () => {};
    this.open = clock.createAlarm(() => this.begin());
    this.close = clock.createAlarm(() => this.finish());
  }

  trigger(high) {
    if (this.clock.nanos < this.silentUntil) return;
    if (high) this.open.schedule(this.skew.boardSpan(this.latency));
    else if (this.ownNanos === null) this.close.schedule(this.skew.boardSpan(this.latency));
  }

  begin() {
    this.exposures++;
    this.exposing = true;
    this.since = this.skew.trueNanos;
    this.strobe(true);
    if (this.ownNanos !== null) this.close.schedule(this.skew.boardSpan(this.ownNanos));
  }

  finish() {
    if (!this.exposing) return;
    this.exposing = false;
    this.strobe(false);
    this.onExposure(this.since, this.skew.trueNanos);
  }

  silence(untilNanos) {
    this.silentUntil = untilNanos;
    this.open.cancel();
  }
}
