/* Button, light and jaw encoder. */
#include <string.h>

#include "as5600.h"
#include "button.h"
#include "light.h"
#include "virtual_board.h"

#define MS 1000000ULL

static button_t button;
static as5600_t encoder;

/* The encoder's bus and chip. */
static struct {
  uint8_t registers[256];
  as5600_bus_state_t result;
  uint8_t reg;
  uint32_t reads;
} chip;

void as5600_bus_begin(uint8_t reg) {
  chip.reg = reg;
  chip.reads++;
}

as5600_bus_state_t as5600_bus_result(uint8_t *bytes) {
  if (chip.result == AS5600_BUS_DONE) {
    memcpy(bytes, chip.registers + chip.reg, AS5600_READ_LEN);
  }
  return chip.result;
}

static int begin(void **state) {
  (void)state;
  memset(&chip, 0, sizeof chip);
  chip.result = AS5600_BUS_DONE;
  chip.registers[0x0b] = 0x20;
  button_start(&button, false);
  as5600_start(&encoder, 0);
  return 0;
}

static bool polls(uint64_t now_ns, bool down, handcap_Button *event) {
  return button_poll(&button, now_ns, down, event);
}

static void a_press_is_told_once_with_the_time_of_its_first_contact(void **state) {
  (void)state;
  handcap_Button event;
  static const uint64_t bounces[] = {100, 101, 103, 104};
  for (size_t i = 0; i < 4; i++) {
    button_edge(&button, bounces[i] * MS);
    assert_false(polls(bounces[i] * MS + 1, i % 2 == 0, &event));
  }
  assert_false(polls(104 * MS + 10 * MS - 1, true, &event));
  assert_true(polls(104 * MS + 10 * MS, true, &event));
  assert_int_equal(event.edge, handcap_Button_Edge_EDGE_PRESSED);
  assert_true(event.edge_t_ns == 100 * MS);
  assert_int_equal(event.presses, 1);
  assert_false(polls(200 * MS, true, &event));
}

static void a_release_is_no_press(void **state) {
  (void)state;
  handcap_Button event;
  for (uint64_t i = 0; i < 6; i++) {
    button_edge(&button, (100 + 50 * i) * MS);
    assert_true(polls((130 + 50 * i) * MS, i % 2 == 0, &event));
    assert_int_equal(event.edge, i % 2 == 0 ? handcap_Button_Edge_EDGE_PRESSED : handcap_Button_Edge_EDGE_RELEASED);
    assert_true(event.edge_t_ns == (100 + 50 * i) * MS);
    assert_int_equal(event.presses, i / 2 + 1);
  }
}

static void a_glitch_is_nothing_and_does_not_lend_its_time_to_the_next_press(void **state) {
  (void)state;
  handcap_Button event;
  button_edge(&button, 100 * MS);
  button_edge(&button, 101 * MS);
  assert_false(polls(120 * MS, false, &event));
  button_edge(&button, 200 * MS);
  assert_true(polls(220 * MS, true, &event));
  assert_true(event.edge_t_ns == 200 * MS);
  assert_int_equal(event.presses, 1);
}

static void an_edge_later_than_the_loops_clock_waits(void **state) {
  (void)state;
  handcap_Button event;
  button_edge(&button, 100 * MS);
  assert_false(polls(99 * MS, true, &event));
  assert_true(polls(110 * MS, true, &event));
}

static void a_button_held_at_boot_is_no_press(void **state) {
  (void)state;
  handcap_Button event;
  button_start(&button, true);
  assert_false(polls(500 * MS, true, &event));
  button_edge(&button, 600 * MS);
  assert_true(polls(620 * MS, false, &event));
  assert_int_equal(event.edge, handcap_Button_Edge_EDGE_RELEASED);
  assert_int_equal(event.presses, 0);
}

static void a_light_is_steady_or_blinks(void **state) {
  (void)state;
  light_t light = {0};
  uint8_t levels[3];
  light_levels(&light, 5 * MS, levels);
  assert_int_equal(levels[0] + levels[1] + levels[2], 0);
  light_set(&light, &(handcap_Light){.red = 255, .green = 20, .blue = 3}, 1000 * MS);
  light_levels(&light, 99999 * MS, levels);
  assert_int_equal(levels[0], 255);
  assert_int_equal(levels[1], 20);
  assert_int_equal(levels[2], 3);
  light_set(&light, &(handcap_Light){.blue = 9, .blink_ms = 250}, 1000 * MS);
  for (uint64_t half = 0; half < 8; half++) {
    light_levels(&light, (1000 + 250 * half) * MS, levels);
    assert_int_equal(levels[2], half % 2 == 0 ? 9 : 0);
    light_levels(&light, (1249 + 250 * half) * MS, levels);
    assert_int_equal(levels[2], half % 2 == 0 ? 9 : 0);
  }
}

/* Polls every half millisecond up to `end_ns`; returns how many angles came, the last in `angle`. */
static uint32_t poll_until(uint64_t *now_ns, uint64_t end_ns, hc_angle_t *angle, uint64_t *t_ns) {
  uint32_t count = 0;
  for (; *now_ns < end_ns; *now_ns += MS / 2) {
    hc_angle_t got;
    uint64_t got_t_ns;
    if (as5600_poll(&encoder, *now_ns, &got, &got_t_ns)) {
      *angle = got;
      *t_ns = got_t_ns;
      count++;
    }
  }
  return count;
}

static void angles_come_every_five_milliseconds_with_the_time_their_read_began(void **state) {
  (void)state;
  hc_angle_t angle;
  uint64_t now_ns = 0, t_ns;
  chip.registers[0x0b] = 0x20;
  chip.registers[0x0c] = 0xf5; /* the upper four bits are not the angle's */
  chip.registers[0x0d] = 0xa3;
  assert_int_equal(poll_until(&now_ns, 1000 * MS, &angle, &t_ns), 200);
  assert_int_equal(angle.counts, 0x5a3);
  assert_true(angle.magnet_found && !angle.magnet_too_weak && !angle.magnet_too_strong);
  assert_true(t_ns == 995 * MS);
  handcap_Sensor sensor = {0};
  as5600_describe(&encoder, &sensor);
  assert_int_equal(sensor.state, handcap_SensorState_SENSOR_STATE_RUNNING);
  assert_true(sensor.rate_hz == 200);
  assert_string_equal(sensor.model, "AS5600");
}

static void each_trouble_with_the_magnet_has_its_own_mark(void **state) {
  (void)state;
  static const uint8_t states[] = {0x00, 0x10, 0x28};
  for (size_t i = 0; i < 3; i++) {
    hc_angle_t angle;
    uint64_t now_ns = 0, t_ns;
    (void)begin(NULL);
    chip.registers[0x0b] = states[i];
    assert_true(poll_until(&now_ns, 20 * MS, &angle, &t_ns) > 0);
    assert_int_equal(angle.magnet_found, i == 2);
    assert_int_equal(angle.magnet_too_weak, i == 1);
    assert_int_equal(angle.magnet_too_strong, i == 2);
  }
}

static void no_encoder_is_no_error_and_is_asked_for_once_a_second(void **state) {
  (void)state;
  hc_angle_t angle;
  uint64_t now_ns = 0, t_ns;
  chip.result = AS5600_BUS_FAILED;
  assert_int_equal(encoder.state, handcap_SensorState_SENSOR_STATE_UNKNOWN);
  assert_int_equal(poll_until(&now_ns, 10000 * MS, &angle, &t_ns), 0);
  assert_in_range(chip.reads, 9, 11);
  assert_int_equal(encoder.read_errors, 0);
  assert_int_equal(encoder.state, handcap_SensorState_SENSOR_STATE_ABSENT);
  chip.result = AS5600_BUS_DONE;
  assert_true(poll_until(&now_ns, 12000 * MS, &angle, &t_ns) > 190);
}

static void a_lost_read_is_counted_and_the_next_one_is_in_time(void **state) {
  (void)state;
  hc_angle_t angle;
  uint64_t now_ns = 0, t_ns;
  (void)poll_until(&now_ns, 50 * MS, &angle, &t_ns);
  chip.result = AS5600_BUS_FAILED;
  (void)poll_until(&now_ns, 55 * MS, &angle, &t_ns);
  chip.result = AS5600_BUS_DONE;
  assert_int_equal(poll_until(&now_ns, 105 * MS, &angle, &t_ns), 10);
  assert_int_equal(encoder.read_errors, 1);
}

static void a_bus_that_hangs_is_given_up_and_tried_again(void **state) {
  (void)state;
  hc_angle_t angle;
  uint64_t now_ns = 0, t_ns;
  (void)poll_until(&now_ns, 50 * MS, &angle, &t_ns);
  uint32_t reads = chip.reads;
  chip.result = AS5600_BUS_BUSY;
  assert_int_equal(poll_until(&now_ns, 100 * MS, &angle, &t_ns), 0);
  assert_int_equal(encoder.read_errors, 10);
  assert_int_equal(encoder.state, handcap_SensorState_SENSOR_STATE_STUCK);
  assert_int_equal(chip.reads, reads + 10);
  (void)poll_until(&now_ns, 900 * MS, &angle, &t_ns);
  assert_int_equal(chip.reads, reads + 10);
  chip.result = AS5600_BUS_DONE;
  assert_true(poll_until(&now_ns, 1500 * MS, &angle, &t_ns) > 50);
  assert_int_equal(encoder.state, handcap_SensorState_SENSOR_STATE_RUNNING);
}

static void a_loop_that_was_late_does_not_catch_up_in_a_burst(void **state) {
  (void)state;
  hc_angle_t angle;
  uint64_t now_ns = 0, t_ns;
  (void)poll_until(&now_ns, 50 * MS, &angle, &t_ns);
  now_ns = 500 * MS;
  assert_in_range(poll_until(&now_ns, 550 * MS, &angle, &t_ns), 10, 11);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_press_is_told_once_with_the_time_of_its_first_contact, begin),
      cmocka_unit_test_setup(a_release_is_no_press, begin),
      cmocka_unit_test_setup(a_glitch_is_nothing_and_does_not_lend_its_time_to_the_next_press, begin),
      cmocka_unit_test_setup(an_edge_later_than_the_loops_clock_waits, begin),
      cmocka_unit_test_setup(a_button_held_at_boot_is_no_press, begin),
      cmocka_unit_test_setup(a_light_is_steady_or_blinks, begin),
      cmocka_unit_test_setup(angles_come_every_five_milliseconds_with_the_time_their_read_began, begin),
      cmocka_unit_test_setup(each_trouble_with_the_magnet_has_its_own_mark, begin),
      cmocka_unit_test_setup(no_encoder_is_no_error_and_is_asked_for_once_a_second, begin),
      cmocka_unit_test_setup(a_lost_read_is_counted_and_the_next_one_is_in_time, begin),
      cmocka_unit_test_setup(a_bus_that_hangs_is_given_up_and_tried_again, begin),
      cmocka_unit_test_setup(a_loop_that_was_late_does_not_catch_up_in_a_burst, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
