/* Trigger pulses: on the grid, centred, with coded gaps; stamps of what they cause. */
#include <stdlib.h>
#include <string.h>

#include "camera_trigger.h"
#include "virtual_board.h"

#define RATE_MHZ 30000U
#define PULSE_US 2000U

static camera_trigger_t trigger;
static uint64_t now_us;

/* A camera on the trigger line. */
static struct {
  bool strobes;
  uint32_t delay_us, exposure_us;
} camera;

static struct {
  uint64_t rise_us, fall_us;
} pulses[4096];
static size_t pulse_count;
static handcap_FrameStamp stamps[4096];
static size_t stamp_count;

static void take_stamps(void) {
  while (camera_trigger_pop(&trigger, &stamps[stamp_count])) {
    stamp_count++;
  }
}

static void run_until(uint64_t end_us) {
  bool high = trigger.high;
  while (trigger.edge_us <= end_us) {
    now_us = trigger.edge_us;
    bool next = camera_trigger_edge(&trigger, now_us);
    if (next && !high) {
      pulses[pulse_count].rise_us = now_us;
      if (camera.strobes) {
        /* An exposure shorter than the pulse: both strobe edges come before the pulse ends. */
        camera_trigger_strobe(&trigger, now_us + camera.delay_us, true);
        camera_trigger_strobe(&trigger, now_us + camera.delay_us + camera.exposure_us, false);
      }
    } else if (!next && high) {
      pulses[pulse_count++].fall_us = now_us;
    }
    high = next;
    take_stamps();
  }
  now_us = end_us;
}

static int begin(void **state) {
  (void)state;
  memset(&trigger, 0, sizeof trigger);
  memset(&camera, 0, sizeof camera);
  now_us = 1000000;
  pulse_count = 0;
  stamp_count = 0;
  camera_trigger_start(&trigger, now_us, RATE_MHZ, PULSE_US);
  return 0;
}

static uint64_t centre_us(size_t pulse) {
  return pulses[pulse].rise_us + PULSE_US / 2;
}

/* How many places of the grid lie between a pulse and the one before it. */
static uint32_t left_out(size_t pulse) {
  uint64_t step_us = centre_us(pulse) - centre_us(pulse - 1);
  return (uint32_t)((step_us + 16667) / 33333) - 1;
}

static void pulses_are_of_the_set_length_and_centred_on_the_grid(void **state) {
  (void)state;
  run_until(now_us + 3000000);
  assert_in_range(pulse_count, 88, 90);
  for (size_t i = 0; i < pulse_count; i++) {
    assert_int_equal(pulses[i].fall_us - pulses[i].rise_us, PULSE_US);
    uint64_t grid_us = 1000000 + (uint64_t)(i + 1) * 1000000 / 30;
    assert_true(llabs((long long)(centre_us(i) - grid_us)) <= 1);
  }
}

static void a_rate_that_is_no_whole_number_of_microseconds_does_not_drift(void **state) {
  (void)state;
  camera_trigger_start(&trigger, now_us, 29970, PULSE_US);
  uint64_t begun_us = now_us;
  run_until(begun_us + 100000000);
  uint64_t last_us = centre_us(pulse_count - 1);
  double periods = (double)(last_us - begun_us) * 29.97e-6;
  assert_true(periods - (double)(uint64_t)(periods + 0.5) < 0.001);
  assert_true((double)(uint64_t)(periods + 0.5) - periods < 0.001);
}

static void without_a_strobe_the_stamp_is_the_pulses_own(void **state) {
  (void)state;
  run_until(now_us + 1000000);
  assert_in_range(stamp_count, pulse_count - 1, pulse_count);
  for (size_t i = 0; i < stamp_count; i++) {
    assert_int_equal(stamps[i].frame, i + 1);
    assert_true(stamps[i].exposure_start_t_ns == pulses[i].rise_us * 1000);
    assert_int_equal(stamps[i].exposure_ns, 0);
    assert_false(stamps[i].strobe_seen);
    assert_false(stamps[i].gap_before);
  }
}

static void with_a_strobe_the_stamp_is_the_cameras_exposure(void **state) {
  (void)state;
  camera.strobes = true;
  camera.delay_us = 35;
  camera.exposure_us = 1500;
  run_until(now_us + 1000000);
  assert_in_range(stamp_count, pulse_count, pulse_count + 1); /* the last pulse may still be on */
  for (size_t i = 0; i < pulse_count; i++) {
    assert_true(stamps[i].strobe_seen);
    assert_true(stamps[i].exposure_start_t_ns == (pulses[i].rise_us + 35) * 1000);
    assert_int_equal(stamps[i].exposure_ns, 1500000);
  }
}

static void the_exposures_middle_is_on_the_grid_whatever_its_length(void **state) {
  (void)state;
  camera.strobes = true;
  camera.delay_us = 80;
  camera.exposure_us = 200;
  run_until(now_us + 500000);
  camera.exposure_us = 1700; /* automatic exposure in a darker room */
  run_until(now_us + 500000);
  for (size_t i = 1; i < stamp_count; i++) {
    if (stamps[i].exposure_ns != stamps[i - 1].exposure_ns) {
      continue; /* the first of another length is centred by the last one's */
    }
    uint64_t middle_ns = stamps[i].exposure_start_t_ns + stamps[i].exposure_ns / 2;
    uint64_t grid_ns = 1000000000 + (uint64_t)(i + 1) * 100000000 / 3;
    assert_true(llabs((long long)(middle_ns - grid_ns)) <= 2000);
  }
}

static void an_exposure_as_long_as_the_period_never_makes_pulses_overlap(void **state) {
  (void)state;
  camera.strobes = true;
  camera.exposure_us = 200; /* then suddenly */
  run_until(now_us + 200000);
  camera.exposure_us = 33000;
  run_until(now_us + 1000000);
  for (size_t i = 1; i < pulse_count; i++) {
    assert_true(pulses[i].rise_us > pulses[i - 1].fall_us);
  }
}

static void gaps_come_every_ten_seconds_two_and_four_long_in_turn(void **state) {
  (void)state;
  run_until(now_us + 65000000);
  uint32_t gaps = 0;
  size_t last = 0;
  for (size_t i = 1; i < pulse_count - 1; i++) {
    assert_int_equal(stamps[i].gap_before, left_out(i) > 0);
    if (left_out(i) == 0) {
      assert_int_equal(stamps[i].gap_code, gaps);
      continue;
    }
    gaps++;
    assert_int_equal(stamps[i].gap_code, gaps);
    assert_int_equal(left_out(i), gaps % 2 != 0 ? 4 : 2);
    assert_int_equal(i - last, 300);
    last = i;
  }
  assert_int_equal(gaps, 6);
}

static void a_takes_start_is_a_gap_of_six(void **state) {
  (void)state;
  run_until(now_us + 1000000);
  assert_true(camera_trigger_mark(&trigger));
  run_until(now_us + 3000000);
  size_t gap = 0;
  for (size_t i = 1; i < pulse_count; i++) {
    if (left_out(i) > 0) {
      assert_int_equal(gap, 0);
      assert_int_equal(left_out(i), 6);
      gap = i;
    }
  }
  assert_in_range(gap, 29, 31);
  assert_true(stamps[gap].gap_before);
  assert_int_equal(stamps[gap].gap_code, 1);
}

static void two_gaps_have_pulses_between_them(void **state) {
  (void)state;
  /* A take starts just when the regular gap is under way. */
  run_until(now_us + 10050000);
  assert_true(camera_trigger_mark(&trigger));
  run_until(now_us + 2000000);
  size_t first = 0, second = 0;
  for (size_t i = 1; i < pulse_count; i++) {
    if (left_out(i) > 0) {
      *(first == 0 ? &first : &second) = i;
    }
  }
  assert_int_equal(left_out(first), 4);
  assert_int_equal(left_out(second), 6);
  assert_int_equal(second - first, 5);
}

static void frames_and_gaps_count_on_when_the_trigger_is_set_anew(void **state) {
  (void)state;
  run_until(now_us + 11000000);
  size_t before = pulse_count;
  camera_trigger_stop(&trigger);
  camera_trigger_start(&trigger, now_us, 60000, 500);
  take_stamps();
  run_until(now_us + 1000000);
  assert_int_equal(stamps[stamp_count - 1].frame, stamp_count);
  assert_int_equal(stamps[stamp_count - 1].gap_code, 1);
  assert_in_range(pulses[before + 1].rise_us - pulses[before].rise_us, 16666, 16667);
}

static void no_trigger_no_mark_and_no_pulse(void **state) {
  (void)state;
  camera_trigger_stop(&trigger);
  assert_false(camera_trigger_mark(&trigger));
  assert_false(camera_trigger_edge(&trigger, now_us + 10000000));
  camera_trigger_start(&trigger, now_us, RATE_MHZ, PULSE_US);
  run_until(now_us + 2000000);
  for (size_t i = 1; i < pulse_count; i++) {
    assert_int_equal(left_out(i), 0);
  }
}

static void an_interrupt_before_its_time_changes_nothing(void **state) {
  (void)state;
  uint64_t edge_us = trigger.edge_us;
  assert_false(camera_trigger_edge(&trigger, edge_us - 1));
  assert_true(trigger.edge_us == edge_us);
  assert_true(camera_trigger_edge(&trigger, edge_us));
  assert_true(camera_trigger_edge(&trigger, edge_us + PULSE_US - 1));
  assert_false(camera_trigger_edge(&trigger, edge_us + PULSE_US));
}

static void a_strobe_without_a_pulse_is_no_frame(void **state) {
  (void)state;
  camera_trigger_strobe(&trigger, now_us + 5, true);
  camera_trigger_strobe(&trigger, now_us + 10, false);
  take_stamps();
  assert_int_equal(stamp_count, 0);
}

static void a_falling_edge_alone_is_no_exposure(void **state) {
  (void)state;
  now_us = trigger.edge_us;
  assert_true(camera_trigger_edge(&trigger, now_us));
  camera_trigger_strobe(&trigger, now_us + 10, false);
  camera_trigger_stop(&trigger);
  take_stamps();
  assert_int_equal(stamp_count, 1);
  assert_false(stamps[0].strobe_seen);
  assert_true(stamps[0].exposure_start_t_ns == now_us * 1000);
}

static void stamps_that_the_loop_does_not_fetch_are_counted(void **state) {
  (void)state;
  for (uint32_t i = 0; i < CAMERA_TRIGGER_STAMPS + 4; i++) {
    do {
      now_us = trigger.edge_us;
    } while (camera_trigger_edge(&trigger, now_us));
    while (!camera_trigger_edge(&trigger, trigger.edge_us)) {
    }
  }
  camera_trigger_stop(&trigger);
  uint32_t given = trigger.pulses;
  take_stamps();
  assert_int_equal(stamp_count, CAMERA_TRIGGER_STAMPS);
  assert_int_equal(trigger.dropped, given - CAMERA_TRIGGER_STAMPS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(pulses_are_of_the_set_length_and_centred_on_the_grid, begin),
      cmocka_unit_test_setup(a_rate_that_is_no_whole_number_of_microseconds_does_not_drift, begin),
      cmocka_unit_test_setup(without_a_strobe_the_stamp_is_the_pulses_own, begin),
      cmocka_unit_test_setup(with_a_strobe_the_stamp_is_the_cameras_exposure, begin),
      cmocka_unit_test_setup(the_exposures_middle_is_on_the_grid_whatever_its_length, begin),
      cmocka_unit_test_setup(an_exposure_as_long_as_the_period_never_makes_pulses_overlap, begin),
      cmocka_unit_test_setup(gaps_come_every_ten_seconds_two_and_four_long_in_turn, begin),
      cmocka_unit_test_setup(a_takes_start_is_a_gap_of_six, begin),
      cmocka_unit_test_setup(two_gaps_have_pulses_between_them, begin),
      cmocka_unit_test_setup(frames_and_gaps_count_on_when_the_trigger_is_set_anew, begin),
      cmocka_unit_test_setup(no_trigger_no_mark_and_no_pulse, begin),
      cmocka_unit_test_setup(an_interrupt_before_its_time_changes_nothing, begin),
      cmocka_unit_test_setup(a_strobe_without_a_pulse_is_no_frame, begin),
      cmocka_unit_test_setup(a_falling_edge_alone_is_no_exposure, begin),
      cmocka_unit_test_setup(stamps_that_the_loop_does_not_fetch_are_counted, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
