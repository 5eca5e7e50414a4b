/* Commands: done once, acknowledged as often as asked, refused with what would do. */
#include <string.h>

#include "virtual_board.h"

static int begin(void **state) {
  (void)state;
  core_boot();
  return 0;
}

static handcap_Ack answer(handcap_Command command) {
  host_commands(&command);
  return core_says_kind(handcap_Envelope_ack_tag).body.ack;
}

static handcap_Ack set_rate(uint32_t id, uint32_t rate_hz) {
  return answer((handcap_Command){
      .id = id, .which_what = handcap_Command_set_imu_rate_tag, .what.set_imu_rate.rate_hz = rate_hz});
}

static handcap_Ack set_trigger(uint32_t id, bool on, uint32_t rate_mhz, uint32_t exposure_us) {
  return answer((handcap_Command){.id = id,
                                  .which_what = handcap_Command_set_trigger_tag,
                                  .what.set_trigger = {.on = on, .rate_mhz = rate_mhz, .exposure_us = exposure_us}});
}

static handcap_Ack set_light(uint32_t id, handcap_Light light) {
  return answer((handcap_Command){.id = id, .which_what = handcap_Command_light_tag, .what.light = light});
}

static void assert_done(handcap_Ack ack, uint32_t id) {
  assert_int_equal(ack.id, id);
  assert_int_equal(ack.outcome, handcap_Ack_Outcome_OUTCOME_DONE);
  assert_string_equal(ack.text, "");
}

static void assert_refused(handcap_Ack ack, const char *what_would_do) {
  assert_int_equal(ack.outcome, handcap_Ack_Outcome_OUTCOME_REFUSED);
  assert_string_equal(ack.text, what_would_do);
}

static void a_rate_reaches_the_sensor(void **state) {
  (void)state;
  static const uint32_t rates_hz[] = {100, 200, 500, 1000};
  for (uint32_t i = 0; i < 4; i++) {
    assert_done(set_rate(i + 1, rates_hz[i]), i + 1);
    assert_int_equal(board.imu_rate_hz, rates_hz[i]);
  }
}

static void a_rate_that_the_sensor_has_not_is_refused_with_those_it_has(void **state) {
  (void)state;
  static const uint32_t rates_hz[] = {0, 99, 101, 400, 999, 1001, UINT32_MAX};
  for (uint32_t i = 0; i < sizeof rates_hz / sizeof rates_hz[0]; i++) {
    assert_refused(set_rate(i + 1, rates_hz[i]), "rate_hz: 100, 200, 500 or 1000");
  }
  assert_int_equal(board.calls, 0);
}

static void a_part_that_does_not_obey_is_told_of(void **state) {
  (void)state;
  board.obeys = false;
  handcap_Ack ack = set_rate(1, 200);
  assert_int_equal(ack.outcome, handcap_Ack_Outcome_OUTCOME_FAILED);
  assert_string_equal(ack.text, "the inertial sensor did not take the rate");
  ack = answer((handcap_Command){.id = 2, .which_what = handcap_Command_mark_take_start_tag});
  assert_int_equal(ack.outcome, handcap_Ack_Outcome_OUTCOME_FAILED);
  assert_string_equal(ack.text, "no trigger runs: SetTrigger first");
}

static void a_trigger_takes_what_a_camera_can_do(void **state) {
  (void)state;
  assert_done(set_trigger(1, true, 1000, 500000), 1);
  assert_done(set_trigger(2, true, 240000, 10), 2);
  assert_true(board.trigger.on);
  assert_int_equal(board.trigger.rate_mhz, 240000);
  assert_int_equal(board.trigger.exposure_us, 10);
  assert_done(set_trigger(3, false, 0, 0), 3);
  assert_false(board.trigger.on);
}

static void a_trigger_out_of_range_is_refused(void **state) {
  (void)state;
  static const char rate[] = "rate_mhz: 1000 to 240000 (thousandths of a hertz)";
  static const char exposure[] = "exposure_us: 10 to half a period";
  assert_refused(set_trigger(1, true, 999, 100), rate);
  assert_refused(set_trigger(2, true, 240001, 100), rate);
  assert_refused(set_trigger(3, true, 0, 0), rate);
  assert_refused(set_trigger(4, true, 30000, 9), exposure);
  assert_refused(set_trigger(5, true, 30000, 16667), exposure);
  assert_int_equal(board.calls, 0);
  assert_done(set_trigger(6, true, 30000, 16666), 6);
}

static void a_light_takes_bytes(void **state) {
  (void)state;
  assert_done(set_light(1, (handcap_Light){.red = 255, .green = 255, .blue = 255, .blink_ms = 60000}), 1);
  assert_int_equal(board.light.green, 255);
  static const handcap_Light wrong[] = {{.red = 256}, {.green = 256}, {.blue = 256}, {.blink_ms = 60001}};
  for (uint32_t i = 0; i < 4; i++) {
    assert_refused(set_light(i + 2, wrong[i]), "red, green, blue: 0 to 255; blink_ms: 0 to 60000");
  }
  assert_int_equal(board.calls, 1);
}

static void the_same_id_is_done_once_and_acknowledged_twice(void **state) {
  (void)state;
  handcap_Command mark = {.id = 9, .which_what = handcap_Command_mark_take_start_tag};
  assert_done(answer(mark), 9);
  assert_done(answer(mark), 9);
  assert_int_equal(board.take_starts, 1);
}

static void a_refusal_too_is_repeated(void **state) {
  (void)state;
  assert_refused(set_rate(4, 3), "rate_hz: 100, 200, 500 or 1000");
  /* Another body under the same id is a host's mistake, or the same frame damaged beyond its CRC: not done. */
  assert_refused(set_rate(4, 1000), "rate_hz: 100, 200, 500 or 1000");
  assert_int_equal(board.calls, 0);
}

static void eight_ids_are_remembered_and_the_ninth_is_forgotten(void **state) {
  (void)state;
  for (uint32_t id = 1; id <= 8; id++) {
    assert_done(set_rate(id, 100), id);
  }
  for (uint32_t id = 1; id <= 8; id++) {
    assert_done(set_rate(id, 100), id);
  }
  assert_int_equal(board.calls, 8);
  assert_done(set_rate(9, 100), 9);
  assert_done(set_rate(2, 100), 2);
  assert_int_equal(board.calls, 9);
  assert_done(set_rate(1, 100), 1);
  assert_int_equal(board.calls, 10);
}

static void a_command_without_id_is_refused(void **state) {
  (void)state;
  assert_refused(set_rate(0, 100), "id: 1 or more");
  assert_int_equal(board.calls, 0);
}

static void a_command_of_a_later_firmware_is_not_known(void **state) {
  (void)state;
  handcap_Ack ack = answer((handcap_Command){.id = 3});
  assert_int_equal(ack.outcome, handcap_Ack_Outcome_OUTCOME_NOT_KNOWN);
  assert_string_equal(ack.text, "this firmware has no such command: run `handcap flash`");
}

static void the_board_identifies_itself_before_it_acknowledges(void **state) {
  (void)state;
  (void)core_says_count(0);
  handcap_Envelope envelope;
  host_commands(&(handcap_Command){.id = 1, .which_what = handcap_Command_identify_tag});
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.which_body, handcap_Envelope_hello_tag);
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.which_body, handcap_Envelope_ack_tag);
  assert_false(core_says(&envelope));
  host_commands(&(handcap_Command){.id = 2, .which_what = handcap_Command_mark_take_start_tag});
  assert_true(core_says(&envelope)); /* once: the next command is not answered by Hello */
  assert_int_equal(envelope.which_body, handcap_Envelope_ack_tag);
}

static void the_bootloader_starts_once_its_acknowledgement_is_out(void **state) {
  (void)state;
  (void)core_says_count(0);
  host_commands(&(handcap_Command){.id = 1, .which_what = handcap_Command_reboot_to_bootloader_tag});
  handcap_Envelope envelope;
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.body.ack.outcome, handcap_Ack_Outcome_OUTCOME_DONE);
  assert_int_equal(board.bootloader_reboots, 0);
  assert_false(core_says(&envelope));
  assert_int_equal(board.bootloader_reboots, 1);
  assert_false(core_says(&envelope));
  assert_int_equal(board.bootloader_reboots, 1);
}

static void acknowledgements_beyond_the_queue_are_asked_for_again(void **state) {
  (void)state;
  (void)core_says_count(0);
  for (uint32_t id = 1; id <= HC_ACKS + 2; id++) {
    host_commands(&(handcap_Command){.id = id, .which_what = handcap_Command_mark_take_start_tag});
  }
  assert_int_equal(board.take_starts, HC_ACKS);
  assert_int_equal(core.messages_dropped, 2);
  assert_int_equal(core_says_count(handcap_Envelope_ack_tag), HC_ACKS);
  host_commands(&(handcap_Command){.id = HC_ACKS + 1, .which_what = handcap_Command_mark_take_start_tag});
  assert_int_equal(board.take_starts, HC_ACKS + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_rate_reaches_the_sensor, begin),
      cmocka_unit_test_setup(a_rate_that_the_sensor_has_not_is_refused_with_those_it_has, begin),
      cmocka_unit_test_setup(a_part_that_does_not_obey_is_told_of, begin),
      cmocka_unit_test_setup(a_trigger_takes_what_a_camera_can_do, begin),
      cmocka_unit_test_setup(a_trigger_out_of_range_is_refused, begin),
      cmocka_unit_test_setup(a_light_takes_bytes, begin),
      cmocka_unit_test_setup(the_same_id_is_done_once_and_acknowledged_twice, begin),
      cmocka_unit_test_setup(a_refusal_too_is_repeated, begin),
      cmocka_unit_test_setup(eight_ids_are_remembered_and_the_ninth_is_forgotten, begin),
      cmocka_unit_test_setup(a_command_without_id_is_refused, begin),
      cmocka_unit_test_setup(a_command_of_a_later_firmware_is_not_known, begin),
      cmocka_unit_test_setup(the_board_identifies_itself_before_it_acknowledges, begin),
      cmocka_unit_test_setup(the_bootloader_starts_once_its_acknowledgement_is_out, begin),
      cmocka_unit_test_setup(acknowledgements_beyond_the_queue_are_asked_for_again, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
