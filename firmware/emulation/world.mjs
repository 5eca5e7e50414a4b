// What there is to be felt by the sensors: a recording, or motion made up on the spot.

import fs from 'node:fs';

const GRAVITY = 9.80665;
const IMU_COLUMNS = 7; // t_s, gyro rad/s, accel m/s^2
const JAW_COLUMNS = 2; // t_s, angle rad

/** A made-up, endless motion that differs from specimen to specimen; deterministic. */
export class Motion {
  constructor(random) {
    this.phase = Array.from({ length: 8 }, () => 2 * Math.PI * random.uniform());
    this.events = [];
  }

  feel(trueNanos, sample) {
    const t = trueNanos / 1e9;
    const wave = (k, hertz, height) => height * Math.sin(2 * Math.PI * hertz * t + this.phase[k]);
    sample.gyro = [wave(0, 0.7, 1.2), wave(1, 0.9, 0.9), wave(2, 0.4, 1.5)];
    sample.accel = [wave(3, 1.1, 2), wave(4, 0.8, 1.5), GRAVITY + wave(5, 1.7, 1)];
    sample.celsius = 31 + wave(6, 0.01, 1);
    sample.raw = null;
  }

  jaw(trueNanos) {
    return 1.5 + 1.2 * Math.sin(2 * Math.PI * 0.5 * (trueNanos / 1e9) + this.phase[7]);
  }
}

/** Angular rates that are no rates but count the samples, so that a lost one shows in what arrives. */
export class Counting extends Motion {
  feel(trueNanos, sample, index) {
    super.feel(trueNanos, sample);
    // Away from -32768, which means "no data".
    sample.raw = [(index % 65000) - 32500, 0, 0];
  }
}

/**
 * A recording, made by handcap.sim.felt: one line of JSON, then little-endian doubles.
 * Before its first sample and after its last it stands still there.
 */
export class Recording {
  constructor(path, startNanos = 0) {
    const file = fs.readFileSync(path);
    const end = file.indexOf(0x0a);
    const header = JSON.parse(file.subarray(0, end).toString());
    if (header.format !== 'handcap felt 1') throw new Error(`${path}: format ${header.format}, not "handcap felt 1"`);
    const doubles = (from, count) => new Float64Array(new Uint8Array(file.subarray(from, from + 8 * count)).buffer);
    this.imu = doubles(end + 1, header.imu * IMU_COLUMNS);
    this.jaws = doubles(end + 1 + this.imu.byteLength, header.jaw * JAW_COLUMNS);
    this.startNanos = startNanos;
    this.events = header.button.map(([t, down]) => ({ at_s: t + startNanos / 1e9, do: down ? 'press' : 'release' }));
    this.row = new Float64Array(IMU_COLUMNS);
  }

  feel(trueNanos, sample) {
    interpolate(this.imu, IMU_COLUMNS, (trueNanos - this.startNanos) / 1e9, this.row);
    sample.gyro = [this.row[1], this.row[2], this.row[3]];
    sample.accel = [this.row[4], this.row[5], this.row[6]];
    sample.celsius = 30;
    sample.raw = null;
  }

  jaw(trueNanos) {
    if (!this.jaws.length) return 0;
    interpolate(this.jaws, JAW_COLUMNS, (trueNanos - this.startNanos) / 1e9, this.row);
    return this.row[1];
  }
}

/** The row at a time, from the two around it. */
function interpolate(table, columns, t, row) {
  let low = 0;
  let high = table.length / columns - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (table[middle * columns] <= t) low = middle;
    else high = middle;
  }
  const [t0, t1] = [table[low * columns], table[high * columns]];
  const f = t1 > t0 ? Math.max(0, Math.min(1, (t - t0) / (t1 - t0))) : 0;
  for (let k = 0; k < columns; k++) row[k] = table[low * columns + k] * (1 - f) + table[high * columns + k] * f;
}

export function makeWorld(options, random) {
  if (options.felt) return new Recording(options.felt, (options.feltStart ?? 0) * 1e9);
  return options.signal === 'count' ? new Counting(random) : new Motion(random);
}
