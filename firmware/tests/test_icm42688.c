/* The inertial sensor's driver against a model of the chip: registers, FIFO, data-ready edges and its faults. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "icm42688.h"
#include "virtual_board.h"

#define FIFO_PACKETS 128U
#define SECOND_NS 1000000000ULL

/* The chip. */
static struct {
  uint8_t registers[128];
  uint8_t fifo[FIFO_PACKETS][ICM42688_PACKET_LEN];
  uint32_t held, number; /* packets in the FIFO; samples since power-on */
  bool full;
  double clock_error;

  /* Faults. */
  uint8_t forgets;       /* register that keeps nothing */
  bool fifo_dead, silent, absent, no_data_gyro, no_data_accel, bad_header;
  uint8_t trim;          /* of the self-test, all axes */
  double self_test_gain;
  uint32_t moved_tests;  /* self-tests during which the rig is moved */
  uint32_t lag;          /* samples that pulse before they are in the FIFO */
  uint32_t resets;
} chip;

static icm42688_t imu;
static uint64_t next_sample_ns;
static hc_imu_sample_t samples[4096];
static uint64_t times[4096];
static size_t sample_count;

static void chip_reset(void) {
  uint8_t identity = chip.registers[0x75];
  memset(chip.registers, 0, sizeof chip.registers);
  chip.registers[0x75] = identity;
  chip.registers[0x64] = 0x10;
  chip.registers[0x4c] = 0x30;
  chip.held = 0;
  chip.full = false;
  chip.resets++;
}

static double chip_period_ns(void) {
  uint8_t code = chip.registers[0x4f] & 0x0f;
  double nominal = code == 0x06 ? 1e6 : code == 0x0f ? 2e6 : code == 0x07 ? 5e6 : 1e7;
  return nominal * (1.0 + chip.clock_error);
}

static void put16(uint8_t *bytes, int16_t value) {
  bytes[0] = (uint8_t)((uint16_t)value >> 8);
  bytes[1] = (uint8_t)value;
}

static void chip_sample(void) {
  uint8_t packet[ICM42688_PACKET_LEN] = {chip.bad_header ? 0x80 : 0x68};
  for (size_t axis = 0; axis < 3; axis++) {
    put16(packet + 1 + 2 * axis, chip.no_data_accel ? INT16_MIN : (int16_t)(chip.number + axis));
    put16(packet + 7 + 2 * axis, chip.no_data_gyro ? INT16_MIN : (int16_t)(-(int)chip.number - (int)axis));
  }
  packet[13] = (uint8_t)-10;
  chip.number++;
  if (chip.fifo_dead) {
    return;
  }
  if (chip.held == FIFO_PACKETS) {
    memmove(chip.fifo[0], chip.fifo[1], sizeof chip.fifo - sizeof chip.fifo[0]);
    chip.held--;
    chip.full = true;
  }
  memcpy(chip.fifo[chip.held++], packet, sizeof packet);
}

/* A chip at rest, narrowest ranges: z of the accelerometer feels 1 g. */
static void read_data_registers(uint8_t *bytes, size_t len) {
  assert_int_equal(len, 12);
  uint8_t pushed = chip.registers[0x70];
  double answer = 2620 * pow(1.01, chip.trim - 1) * chip.self_test_gain;
  for (size_t axis = 0; axis < 6; axis++) {
    /* bits 0 to 2 push the gyroscope, 3 to 5 the accelerometer if bit 6 powers it */
    size_t bit = axis < 3 ? axis + 3 : axis - 3;
    bool on = ((uint32_t)pushed >> bit & 1U) != 0 && (axis >= 3 || (pushed & 0x40) != 0);
    put16(bytes + 2 * axis, (int16_t)((axis == 2 ? 16384 : 0) + (on && chip.moved_tests == 0 ? answer : 0)));
  }
}

void icm42688_bus_read(uint8_t reg, uint8_t *bytes, size_t len) {
  if (chip.absent) {
    memset(bytes, 0xff, len);
    return;
  }
  uint32_t shown = chip.held > chip.lag ? chip.held - chip.lag : 0;
  if (reg == 0x30) {
    assert_true(len <= shown * ICM42688_PACKET_LEN);
    assert_int_equal(len % ICM42688_PACKET_LEN, 0);
    memcpy(bytes, chip.fifo, len);
    uint32_t packets = (uint32_t)(len / ICM42688_PACKET_LEN);
    memmove(chip.fifo[0], chip.fifo[packets], (FIFO_PACKETS - packets) * ICM42688_PACKET_LEN);
    chip.held -= packets;
    return;
  }
  if (chip.registers[0x76] != 0) {
    memset(bytes, chip.trim, len);
    return;
  }
  if (reg == 0x1f) {
    read_data_registers(bytes, len);
    return;
  }
  uint32_t count = shown * ICM42688_PACKET_LEN;
  chip.registers[0x2d] = (uint8_t)(0x08 | (chip.full ? 0x02 : 0));
  chip.registers[0x2e] = (uint8_t)(count >> 8);
  chip.registers[0x2f] = (uint8_t)count;
  memcpy(bytes, chip.registers + reg, len);
  if (reg <= 0x2d && reg + len > 0x2d) {
    chip.full = false; /* reading clears it */
  }
}

void icm42688_bus_write(uint8_t reg, uint8_t value) {
  if (chip.absent) {
    return;
  }
  if (reg == 0x70 && value == 0 && chip.moved_tests > 0) {
    chip.moved_tests--;
  }
  if (reg == 0x11 && value == 1) {
    chip_reset();
  } else if (reg == 0x4b && (value & 2) != 0) {
    chip.held = 0;
    chip.full = false;
  } else if (reg != 0x75 && reg != chip.forgets) {
    chip.registers[reg] = value;
  }
}

void icm42688_bus_wait_us(uint32_t us) {
  board.now_ns += us * 1000ULL;
}

static bool chip_runs(void) {
  return !chip.absent && !chip.silent && chip.registers[0x4e] == 0x0f;
}

/* Time passes; the loop visits the driver every millisecond, if at all. */
static void run(uint64_t duration_ns, bool polled) {
  uint64_t end_ns = board.now_ns + duration_ns;
  uint64_t next_poll_ns = board.now_ns + 300000;
  while (board.now_ns < end_ns) {
    if (next_sample_ns < board.now_ns) {
      next_sample_ns = board.now_ns + (uint64_t)chip_period_ns();
    }
    bool sample = next_sample_ns <= next_poll_ns;
    board.now_ns = sample ? next_sample_ns : next_poll_ns;
    if (sample) {
      next_sample_ns += (uint64_t)chip_period_ns();
      if (chip_runs()) {
        chip_sample();
        if ((chip.registers[0x65] & 0x08) != 0) {
          icm42688_edge(&imu, board.now_ns);
        }
      }
      continue;
    }
    next_poll_ns += 1000000;
    if (polled) {
      assert_true(sample_count + ICM42688_READ_MAX <= sizeof samples / sizeof samples[0]);
      sample_count += icm42688_poll(&imu, board.now_ns, samples + sample_count, times + sample_count);
    }
  }
}

static int begin(void **state) {
  (void)state;
  virtual_board_reset();
  memset(&chip, 0, sizeof chip);
  memset(&imu, 0, sizeof imu);
  chip.registers[0x75] = 0x47;
  sample_count = 0;
  board.now_ns = 1000;
  next_sample_ns = 0;
  return 0;
}

static int begin_running(void **state) {
  (void)begin(state);
  assert_true(icm42688_start(&imu, 1000, board.now_ns));
  run(SECOND_NS, true);
  sample_count = 0;
  return 0;
}

/* The samples from `from` on carry the numbers of the chip one by one, each with the time of its own edge. */
static void assert_consecutive(size_t from, double tolerance_ns) {
  assert_true(sample_count > from + 10);
  for (size_t i = from; i < sample_count; i++) {
    assert_int_equal(samples[i].accel[0] - samples[from].accel[0], (int)(i - from));
    assert_true(fabs((double)times[i] - (double)times[from] - (double)(i - from) * chip_period_ns()) <= tolerance_ns);
  }
}

static void a_healthy_chip_runs_with_its_ranges_and_rate_read_back(void **state) {
  (void)state;
  assert_true(icm42688_start(&imu, 500, board.now_ns));
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_RUNNING);
  assert_int_equal(chip.registers[0x4f], 0x0f); /* 2000 degrees per second, 500 Hz */
  assert_int_equal(chip.registers[0x50], 0x0f); /* 16 g, 500 Hz */
  assert_int_equal(chip.registers[0x4e], 0x0f);
  assert_int_equal(chip.registers[0x16], 0x40);
  assert_int_equal(chip.registers[0x64] & 0x10, 0);
  assert_int_equal(chip.registers[0x60] | chip.registers[0x61] << 8, 5 * ICM42688_PACKET_LEN);
  handcap_Sensor sensor = {0};
  icm42688_describe(&imu, &sensor);
  assert_string_equal(sensor.model, "ICM-42688-P");
  assert_int_equal(sensor.identity, 0x47);
  assert_true(sensor.rate_hz == 500);
  assert_true(fabs(sensor.gyro_range_rad_s - 2000 * 3.14159265358979 / 180) < 1e-9);
  assert_true(fabs(sensor.accel_range_m_s2 - 16 * 9.80665) < 1e-9);
}

static void another_chip_is_named_and_not_used(void **state) {
  (void)state;
  chip.registers[0x75] = 0x68;
  assert_false(icm42688_start(&imu, 1000, board.now_ns));
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_WRONG_IDENTITY);
  assert_int_equal(imu.identity, 0x68);
  run(SECOND_NS / 2, true);
  assert_int_equal(sample_count, 0);
}

static void an_open_bus_is_an_absent_chip_and_one_plugged_in_later_is_found(void **state) {
  (void)state;
  chip.absent = true;
  assert_false(icm42688_start(&imu, 1000, board.now_ns));
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_ABSENT);
  run(SECOND_NS / 2, true);
  chip.absent = false;
  chip.registers[0x75] = 0x47;
  run(SECOND_NS, true);
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_RUNNING);
  assert_consecutive(0, 10000);
}

static void a_register_that_keeps_nothing_is_found_by_reading_back(void **state) {
  (void)state;
  static const uint8_t registers[] = {0x14, 0x16, 0x4c, 0x4e, 0x4f, 0x50, 0x5f, 0x60, 0x65};
  for (size_t i = 0; i < sizeof registers; i++) {
    (void)begin(NULL);
    chip.forgets = registers[i];
    assert_false(icm42688_start(&imu, 1000, board.now_ns));
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_BAD_REGISTERS);
  }
}

static void every_sample_bears_the_time_of_its_own_edge(void **state) {
  (void)state;
  static const uint32_t rates_hz[] = {100, 200, 500, 1000};
  for (size_t i = 0; i < 4; i++) {
    (void)begin(NULL);
    assert_true(icm42688_start(&imu, rates_hz[i], board.now_ns));
    run(2 * SECOND_NS, true);
    /* The chip's first edges are its start-up; everything after them is there. */
    assert_true(sample_count >= 2 * rates_hz[i] - rates_hz[i] / 10 - 20);
    assert_consecutive(0, 2);
    uint64_t edge = (uint64_t)samples[0].accel[0]; /* number 0 came one period after power-on */
    assert_true(fabs((double)times[0] - (double)times[sample_count - 1] +
                     (double)(samples[sample_count - 1].accel[0] - (int)edge) * chip_period_ns()) < 2);
    assert_int_equal(samples[5].gyro[2], -samples[5].accel[2]);
    assert_int_equal(imu.lost + imu.invalid + imu.fifo_resets + imu.stuck, 0);
  }
}

static void the_gyroscopes_start_up_is_left_out(void **state) {
  (void)state;
  assert_true(icm42688_start(&imu, 1000, board.now_ns));
  run(SECOND_NS / 4, true);
  assert_int_equal(samples[0].accel[0], 45);
}

static void the_rate_is_measured_whatever_the_chips_clock(void **state) {
  (void)state;
  static const double errors[] = {-0.01, -0.0003, 0.0, 0.01};
  for (size_t i = 0; i < 4; i++) {
    (void)begin(NULL);
    chip.clock_error = errors[i];
    assert_true(icm42688_start(&imu, 1000, board.now_ns));
    run(2 * SECOND_NS, true);
    assert_true(fabs(imu.period_ns - chip_period_ns()) < 2);
    assert_consecutive(1000, 10);
  }
}

static void a_missed_edge_does_not_spoil_the_measured_rate(void **state) {
  (void)state;
  uint32_t period_ns = imu.period_ns;
  imu.edges -= 100; /* as if the interrupt had been off for long */
  imu.edges_taken -= 100;
  imu.edges_seen -= 100;
  run(SECOND_NS, true);
  assert_true(abs((int)imu.period_ns - (int)period_ns) < 2);
}

static void the_temperature_is_the_chips(void **state) {
  (void)state;
  run(SECOND_NS / 10, true);
  assert_true(fabs((double)icm42688_temperature_c(&imu) - (25.0 - 10 / 2.07)) < 0.01);
}

static void another_rate_begins_a_new_series(void **state) {
  (void)state;
  assert_true(icm42688_set_rate(&imu, 200, board.now_ns));
  run(SECOND_NS, true);
  assert_consecutive(0, 10);
  assert_true(fabs(imu.period_ns - 5e6) < 10);
  assert_int_equal(imu.lost, 0);
}

static void the_same_rate_again_disturbs_nothing(void **state) {
  (void)state;
  run(SECOND_NS / 10, true);
  assert_true(icm42688_set_rate(&imu, 1000, board.now_ns));
  run(SECOND_NS / 10, true);
  assert_consecutive(0, 10);
}

static void a_rate_that_does_not_read_back_is_a_failure(void **state) {
  (void)state;
  chip.forgets = 0x50;
  assert_false(icm42688_set_rate(&imu, 200, board.now_ns));
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_BAD_REGISTERS);
  assert_false(icm42688_set_rate(&imu, 200, board.now_ns));
}

static void samples_that_the_chip_marks_as_no_data_are_counted_and_left_out(void **state) {
  (void)state;
  chip.no_data_gyro = true;
  run(SECOND_NS / 20, true);
  chip.no_data_gyro = false;
  chip.no_data_accel = true;
  run(SECOND_NS / 20, true);
  chip.no_data_accel = false;
  run(SECOND_NS / 5, true);
  assert_true(imu.invalid >= 98 && imu.invalid <= 102);
  for (size_t i = 0; i < sample_count; i++) {
    assert_true(samples[i].accel[0] != INT16_MIN && samples[i].gyro[0] != INT16_MIN);
  }
  assert_int_equal(imu.lost, 0);
}

static void an_overflow_is_noticed_counted_and_mended(void **state) {
  (void)state;
  uint32_t number = chip.number;
  run(SECOND_NS / 5, false); /* the loop hangs */
  run(SECOND_NS / 5, true);
  assert_int_equal(imu.fifo_resets, 1);
  assert_true(imu.lost >= 198 && imu.lost <= 212);
  assert_consecutive(0, 10);
  /* What was lost and what came make up all that the chip measured, but for the sample of the flush itself. */
  uint32_t measured = chip.number - number;
  assert_true(measured - imu.lost - sample_count <= 12);
}

static void samples_that_wait_for_a_late_loop_keep_their_times(void **state) {
  (void)state;
  run(SECOND_NS / 10, true);
  run(SECOND_NS / 12, false); /* 83 samples: more than one visit takes, less than the FIFO holds */
  run(SECOND_NS / 10, true);
  assert_consecutive(0, 10);
  assert_int_equal(imu.lost + imu.fifo_resets, 0);
}

static void a_fifo_that_stays_empty_is_started_anew(void **state) {
  (void)state;
  chip.fifo_dead = true;
  run(SECOND_NS / 5, true);
  chip.fifo_dead = false;
  size_t before = sample_count;
  run(SECOND_NS / 2, true);
  assert_true(imu.fifo_resets >= 1);
  assert_true(imu.lost >= 20);
  assert_consecutive(before, 10);
}

static void a_fifo_that_does_not_come_back_has_the_chip_reset(void **state) {
  (void)state;
  uint32_t resets = chip.resets;
  chip.fifo_dead = true;
  run(SECOND_NS, true);
  assert_true(chip.resets > resets);
}

static void packets_out_of_step_are_thrown_away(void **state) {
  (void)state;
  chip.bad_header = true;
  run(SECOND_NS / 50, true);
  chip.bad_header = false;
  size_t before = sample_count;
  run(SECOND_NS / 5, true);
  assert_true(imu.fifo_resets >= 1);
  assert_consecutive(before, 10);
}

static void a_sample_that_pulses_before_it_is_in_the_fifo_waits_for_the_next_visit(void **state) {
  (void)state;
  /* Lag for a single visit. */
  run(SECOND_NS / 10, true);
  while (imu.edges - imu.edges_taken < 10) {
    run(1000000, false);
  }
  chip.lag = 1;
  sample_count += icm42688_poll(&imu, board.now_ns, samples + sample_count, times + sample_count);
  assert_int_equal(imu.late_visits, 1);
  chip.lag = 0;
  run(SECOND_NS / 10, true);
  assert_consecutive(0, 10);
  assert_int_equal(imu.lost, 0);
}

static void a_sample_that_never_reaches_the_fifo_is_counted_and_the_times_stay_true(void **state) {
  (void)state;
  chip.fifo_dead = true;
  uint32_t number = chip.number;
  while (chip.number == number) {
    run(500000, true);
  }
  chip.fifo_dead = false;
  run(SECOND_NS / 5, true);
  assert_int_equal(imu.lost, 1);
  /* The last sample and the last edge are as far apart in time as in number. */
  double later = (double)(chip.number - 1U) - samples[sample_count - 1].accel[0];
  double last_t_ns = (double)times[sample_count - 1] + later * chip_period_ns();
  assert_true(fabs(last_t_ns - (double)imu.edge_t_ns) < 2000);
  assert_consecutive(sample_count - 100, 10);
}

static void edges_that_stay_away_restart_the_chip_once_and_are_counted_once(void **state) {
  (void)state;
  uint32_t resets = chip.resets;
  chip.silent = true;
  run(SECOND_NS / 2, true);
  assert_int_equal(imu.stuck, 1);
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_STUCK);
  assert_int_equal(chip.resets, resets + 1);
  run(2 * SECOND_NS, true);
  assert_int_equal(imu.stuck, 1);
  assert_true(chip.resets >= resets + 2);
  assert_int_equal(imu.lost, 0); /* told when the next sample says how many there would have been */
  chip.silent = false;
  size_t before = sample_count;
  run(SECOND_NS / 2, true);
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_RUNNING);
  assert_consecutive(before, 10);
  double gap = (double)(times[before] - times[before - 1]) / chip_period_ns();
  assert_in_range(imu.lost, gap - 4, gap + 4); /* its period is measured to a thousandth */
  assert_true(imu.lost > 2500);
}

static void a_chip_that_is_pulled_out_is_found_missing_and_found_again(void **state) {
  (void)state;
  chip.absent = true;
  run(SECOND_NS, true);
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_ABSENT);
  assert_int_equal(imu.stuck, 1);
  chip.absent = false;
  size_t before = sample_count;
  run(2 * SECOND_NS, true);
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_RUNNING);
  assert_consecutive(before, 10);
}

static void an_interrupt_line_that_rings_does_not_hold_the_loop(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 1000; i++) {
    icm42688_edge(&imu, board.now_ns);
  }
  run(SECOND_NS / 5, true);
  size_t settled = sample_count - 50;
  assert_consecutive(settled, 2e6);
}

static void prepare_self_test(double gain, uint8_t trim) {
  (void)begin(NULL);
  chip.self_test_gain = gain;
  chip.trim = trim;
  assert_true(icm42688_start(&imu, 1000, board.now_ns));
}

/* As at boot: the chip is started anew behind it. */
static bool self_test(void) {
  bool right = icm42688_self_test(&imu);
  (void)icm42688_start(&imu, 1000, board.now_ns);
  return right;
}

static void a_healthy_chip_passes_its_self_test_and_streams_as_before(void **state) {
  (void)state;
  static const uint8_t trims[] = {1, 96, 150};
  for (size_t i = 0; i < 3; i++) {
    prepare_self_test(0.9, trims[i]);
    assert_true(self_test());
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_RUNNING);
    assert_int_equal(chip.registers[0x70], 0);
    assert_int_equal(chip.registers[0x4f], 0x06); /* the wide ranges again */
    run(SECOND_NS / 4, true);
    assert_consecutive(0, 10);
  }
}

static void a_chip_that_answers_too_weakly_or_too_strongly_fails_and_streams_all_the_same(void **state) {
  (void)state;
  static const double gains[] = {0.0, 0.45, 1.6, -1.0};
  for (size_t i = 0; i < 4; i++) {
    prepare_self_test(gains[i], 80);
    assert_false(self_test());
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_FAILED_SELF_TEST);
    run(SECOND_NS / 4, true);
    assert_consecutive(0, 10);
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_FAILED_SELF_TEST);
    chip.silent = true; /* nor does a restart make it well */
    run(SECOND_NS / 2, true);
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_STUCK);
    chip.silent = false;
    run(SECOND_NS / 2, true);
    assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_FAILED_SELF_TEST);
  }
}

static void a_chip_without_trims_fails(void **state) {
  (void)state;
  prepare_self_test(1.0, 0);
  assert_false(self_test());
}

static void a_rig_that_was_moved_is_tested_once_more(void **state) {
  (void)state;
  prepare_self_test(1.0, 80);
  chip.moved_tests = 1;
  assert_true(self_test());
  prepare_self_test(1.0, 80);
  chip.moved_tests = 2;
  assert_false(self_test());
}

static void a_chip_that_did_not_start_is_not_tested(void **state) {
  (void)state;
  chip.absent = true;
  assert_false(icm42688_start(&imu, 1000, board.now_ns));
  assert_false(self_test());
  assert_int_equal(imu.state, handcap_SensorState_SENSOR_STATE_ABSENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_healthy_chip_runs_with_its_ranges_and_rate_read_back, begin),
      cmocka_unit_test_setup(another_chip_is_named_and_not_used, begin),
      cmocka_unit_test_setup(an_open_bus_is_an_absent_chip_and_one_plugged_in_later_is_found, begin),
      cmocka_unit_test_setup(a_register_that_keeps_nothing_is_found_by_reading_back, begin),
      cmocka_unit_test_setup(every_sample_bears_the_time_of_its_own_edge, begin),
      cmocka_unit_test_setup(the_gyroscopes_start_up_is_left_out, begin),
      cmocka_unit_test_setup(the_rate_is_measured_whatever_the_chips_clock, begin),
      cmocka_unit_test_setup(a_missed_edge_does_not_spoil_the_measured_rate, begin_running),
      cmocka_unit_test_setup(the_temperature_is_the_chips, begin_running),
      cmocka_unit_test_setup(another_rate_begins_a_new_series, begin_running),
      cmocka_unit_test_setup(the_same_rate_again_disturbs_nothing, begin_running),
      cmocka_unit_test_setup(a_rate_that_does_not_read_back_is_a_failure, begin_running),
      cmocka_unit_test_setup(samples_that_the_chip_marks_as_no_data_are_counted_and_left_out, begin_running),
      cmocka_unit_test_setup(an_overflow_is_noticed_counted_and_mended, begin_running),
      cmocka_unit_test_setup(samples_that_wait_for_a_late_loop_keep_their_times, begin_running),
      cmocka_unit_test_setup(a_fifo_that_stays_empty_is_started_anew, begin_running),
      cmocka_unit_test_setup(a_fifo_that_does_not_come_back_has_the_chip_reset, begin_running),
      cmocka_unit_test_setup(packets_out_of_step_are_thrown_away, begin_running),
      cmocka_unit_test_setup(a_sample_that_pulses_before_it_is_in_the_fifo_waits_for_the_next_visit, begin_running),
      cmocka_unit_test_setup(a_sample_that_never_reaches_the_fifo_is_counted_and_the_times_stay_true, begin_running),
      cmocka_unit_test_setup(edges_that_stay_away_restart_the_chip_once_and_are_counted_once, begin_running),
      cmocka_unit_test_setup(a_chip_that_is_pulled_out_is_found_missing_and_found_again, begin_running),
      cmocka_unit_test_setup(an_interrupt_line_that_rings_does_not_hold_the_loop, begin_running),
      cmocka_unit_test_setup(a_healthy_chip_passes_its_self_test_and_streams_as_before, begin),
      cmocka_unit_test_setup(a_chip_that_answers_too_weakly_or_too_strongly_fails_and_streams_all_the_same, begin),
      cmocka_unit_test_setup(a_chip_without_trims_fails, begin),
      cmocka_unit_test_setup(a_rig_that_was_moved_is_tested_once_more, begin),
      cmocka_unit_test_setup(a_chip_that_did_not_start_is_not_tested, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
