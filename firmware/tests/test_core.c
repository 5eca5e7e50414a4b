/* What the board says, when, and in which order; what becomes of it when there is no room. */
#include <math.h>
#include <string.h>

#include "virtual_board.h"

#define SECOND_NS 1000000000U

static int begin(void **state) {
  (void)state;
  core_boot();
  return 0;
}

static handcap_Status next_status(void) {
  board.now_ns += SECOND_NS;
  return core_says_kind(handcap_Envelope_status_tag).body.status;
}

static void put_samples(uint64_t first_t_ns, uint32_t count) {
  hc_core_imu_traits(&core, &(hc_imu_traits_t){
                                .period_ns = 1000000U,
                                .gyro_scale = 0.25,
                                .accel_scale = 0.5,
                                .temperature_c = 31.5F,
                            });
  for (uint32_t i = 0; i < count; i++) {
    int16_t number = (int16_t)i;
    hc_core_imu(&core, first_t_ns + i * 1000000ULL,
                &(hc_imu_sample_t){.gyro = {number, (int16_t)-number, 7}, .accel = {INT16_MAX, INT16_MIN, number}});
  }
}

static void put_angles(uint64_t first_t_ns, uint32_t count, hc_angle_t angle) {
  for (uint32_t i = 0; i < count; i++) {
    hc_core_angle(&core, first_t_ns + i * 5000000ULL, 5000000U, &angle);
    angle.counts++;
  }
}

static void ask_for_the_time(uint64_t host_sent_t_ns, uint64_t received_t_ns) {
  handcap_Envelope envelope = {.which_body = handcap_Envelope_sync_request_tag};
  envelope.body.sync_request.host_sent_t_ns = host_sent_t_ns;
  host_sends(&envelope, received_t_ns);
}

static void the_first_message_says_who_the_board_is(void **state) {
  (void)state;
  board.sensor_count = 1;
  board.sensors[0] = (handcap_Sensor){.kind = handcap_SensorKind_SENSOR_KIND_IMU,
                                      .model = "chip",
                                      .state = handcap_SensorState_SENSOR_STATE_WRONG_IDENTITY,
                                      .identity = 0x12};
  board.now_ns = 5000;
  handcap_Envelope envelope;
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.which_body, handcap_Envelope_hello_tag);
  assert_int_equal(envelope.seq, 0);
  assert_int_equal(envelope.t_us, 5);
  assert_int_equal(envelope.boot_id, 77);
  const handcap_Hello *hello = &envelope.body.hello;
  assert_int_equal(hello->protocol_version, handcap_ProtocolVersion_PROTOCOL_VERSION_CURRENT);
  assert_string_equal(hello->board, "virtual");
  assert_true(hello->uid == 0xe66054815b1d3481U);
  assert_string_equal(hello->firmware_version, "1.2.3");
  assert_string_equal(hello->git_hash, "0123456789ab+");
  assert_int_equal(hello->boot_count, 3);
  assert_int_equal(hello->reset_cause, handcap_ResetCause_RESET_CAUSE_PIN);
  assert_int_equal(hello->sensors_count, 1);
  assert_int_equal(hello->sensors[0].identity, 0x12);
  assert_false(core_says(&envelope));
}

static void a_text_too_long_for_its_field_is_cut(void **state) {
  (void)state;
  core.identity.board = "a board with a very long name";
  assert_string_equal(core_says_kind(handcap_Envelope_hello_tag).body.hello.board, "a board with a ");
}

static void every_message_counts_up_by_one(void **state) {
  (void)state;
  for (uint32_t seq = 0; seq < 5; seq++) {
    host_commands(&(handcap_Command){.id = seq + 1, .which_what = handcap_Command_mark_take_start_tag});
    handcap_Envelope envelope;
    assert_true(core_says(&envelope));
    assert_int_equal(envelope.seq, seq);
  }
}

static void nothing_streams_until_asked(void **state) {
  (void)state;
  put_samples(0, 40);
  put_angles(0, 20, (hc_angle_t){0});
  hc_core_stamp(&core, &(handcap_FrameStamp){.frame = 1});
  assert_int_equal(core_says_count(handcap_Envelope_imu_batch_tag), 0);
  host_streams(true);
  put_samples(0, 40);
  put_angles(0, 20, (hc_angle_t){0});
  hc_core_stamp(&core, &(handcap_FrameStamp){.frame = 2});
  assert_int_equal(core_says_kind(handcap_Envelope_frame_stamp_tag).body.frame_stamp.frame, 2);
}

static void what_waits_when_the_stream_ends_is_not_sent_when_it_begins_again(void **state) {
  (void)state;
  host_streams(true);
  put_samples(0, 20);
  assert_int_equal(core_says_count(handcap_Envelope_imu_batch_tag), 1);
  put_samples(20000000U, 40);
  put_angles(0, 20, (hc_angle_t){0});
  hc_core_stamp(&core, &(handcap_FrameStamp){.frame = 1});
  handcap_Command stream = {.id = 5, .which_what = handcap_Command_stream_tag};
  host_commands(&stream);
  stream.id = 6;
  stream.what.stream.on = true;
  host_commands(&stream);
  board.now_ns = SECOND_NS;
  handcap_Envelope envelope;
  uint32_t count = 0;
  for (; core_says(&envelope); count++) {
    assert_true(envelope.which_body == handcap_Envelope_hello_tag || envelope.which_body == handcap_Envelope_ack_tag ||
                envelope.which_body == handcap_Envelope_status_tag);
  }
  assert_int_equal(count, 3); /* two acknowledgements and the status: nobody's loss */
  assert_int_equal(envelope.body.status.imu_samples_lost, 0);
}

static void a_batch_bears_the_samples_with_time_period_and_scale(void **state) {
  (void)state;
  host_streams(true);
  board.losses.imu_fifo_lost = 9;
  put_samples(123456000U, 20);
  handcap_ImuBatch batch = core_says_kind(handcap_Envelope_imu_batch_tag).body.imu_batch;
  assert_true(batch.first_sample_t_ns == 123456000U);
  assert_int_equal(batch.period_ns, 1000000);
  assert_int_equal(batch.gyro_counts_count, 60);
  assert_int_equal(batch.accel_counts_count, 60);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(batch.gyro_counts[3 * i], i);
    assert_int_equal(batch.gyro_counts[3 * i + 1], -i);
    assert_int_equal(batch.gyro_counts[3 * i + 2], 7);
    assert_int_equal(batch.accel_counts[3 * i], INT16_MAX);
    assert_int_equal(batch.accel_counts[3 * i + 1], INT16_MIN);
    assert_int_equal(batch.accel_counts[3 * i + 2], i);
  }
  assert_true(batch.gyro_scale == 0.25 && batch.accel_scale == 0.5);
  assert_true(batch.temperature_c == 31.5F);
  assert_int_equal(batch.fifo_overflows, 9);
}

static void the_period_of_a_batch_is_the_one_its_samples_have(void **state) {
  (void)state;
  host_streams(true);
  hc_core_imu_traits(&core, &(hc_imu_traits_t){.period_ns = 1000000U});
  for (uint64_t i = 0; i < 20; i++) {
    hc_core_imu(&core, i * 1007000U, &(hc_imu_sample_t){0});
  }
  assert_int_equal(core_says_kind(handcap_Envelope_imu_batch_tag).body.imu_batch.period_ns, 1007000);
}

static void a_lonely_sample_has_the_period_that_the_driver_measured(void **state) {
  (void)state;
  host_streams(true);
  put_samples(0, 1);
  board.now_ns = 100000000U;
  handcap_ImuBatch batch = core_says_kind(handcap_Envelope_imu_batch_tag).body.imu_batch;
  assert_int_equal(batch.period_ns, 1000000);
  assert_int_equal(batch.gyro_counts_count, 3);
}

static void samples_beyond_the_queue_are_lost_and_told(void **state) {
  (void)state;
  host_streams(true);
  put_samples(0, HC_IMU_QUEUE + 30);
  board.losses.imu_fifo_lost = 4;
  assert_int_equal(next_status().imu_samples_lost, 34);
}

static void the_oldest_stamp_gives_way_and_samples_never_do(void **state) {
  (void)state;
  host_streams(true);
  put_samples(0, 20);
  for (uint32_t i = 1; i <= HC_STAMPS + 3; i++) {
    hc_core_stamp(&core, &(handcap_FrameStamp){.frame = i});
  }
  handcap_Envelope envelope;
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.which_body, handcap_Envelope_imu_batch_tag);
  assert_int_equal(envelope.body.imu_batch.gyro_counts_count, 60);
  for (uint32_t i = 4; i <= HC_STAMPS + 3; i++) {
    assert_true(core_says(&envelope));
    assert_int_equal(envelope.body.frame_stamp.frame, i);
  }
  board.losses.frame_stamps_dropped = 2;
  assert_int_equal(next_status().frame_stamps_dropped, 5);
}

static void ten_angles_make_a_message(void **state) {
  (void)state;
  host_streams(true);
  board.losses.encoder_read_errors = 6;
  put_angles(777000U, 9, (hc_angle_t){.counts = 4000, .magnet_found = true, .magnet_too_weak = true});
  handcap_Envelope envelope;
  assert_false(core_says(&envelope) && envelope.which_body == handcap_Envelope_encoder_tag);
  put_angles(777000U + 9 * 5000000ULL, 1, (hc_angle_t){.counts = 4009, .magnet_found = true, .magnet_too_weak = true});
  handcap_Encoder encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
  assert_true(encoder.first_sample_t_ns == 777000U);
  assert_int_equal(encoder.period_ns, 5000000);
  assert_int_equal(encoder.counts_per_turn, 4096);
  assert_int_equal(encoder.read_errors, 6);
  assert_int_equal(encoder.angle_counts_count, 10);
  for (uint32_t i = 0; i < 10; i++) {
    assert_int_equal(encoder.angle_counts[i], 4000 + i);
  }
  assert_true(encoder.magnet_found && encoder.magnet_too_weak && !encoder.magnet_too_strong);
}

static void angles_on_both_sides_of_a_change_are_told_apart(void **state) {
  (void)state;
  static const hc_angle_t others[] = {
      {.magnet_found = false}, {.magnet_found = true, .magnet_too_weak = true}, {.magnet_found = true, .magnet_too_strong = true}};
  for (size_t i = 0; i < 3; i++) {
    core_boot();
    host_streams(true);
    put_angles(0, 4, (hc_angle_t){.magnet_found = true});
    put_angles(20000000U, 10, others[i]);
    handcap_Encoder encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
    assert_int_equal(encoder.angle_counts_count, 4);
    assert_true(encoder.magnet_found && !encoder.magnet_too_weak && !encoder.magnet_too_strong);
    encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
    assert_int_equal(encoder.angle_counts_count, 10);
    assert_int_equal(encoder.magnet_too_strong, others[i].magnet_too_strong);
  }
}

static void a_lost_angle_ends_a_message(void **state) {
  (void)state;
  host_streams(true);
  put_angles(0, 1, (hc_angle_t){.counts = 1});
  put_angles(10000000U, 10, (hc_angle_t){.counts = 2});
  handcap_Encoder encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
  assert_int_equal(encoder.angle_counts_count, 1);
  assert_int_equal(encoder.period_ns, 5000000);
  encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
  assert_true(encoder.first_sample_t_ns == 10000000U);
}

static void angles_half_a_period_late_belong_together_and_the_period_is_the_measured_one(void **state) {
  (void)state;
  host_streams(true);
  for (uint64_t i = 0; i < 10; i++) {
    hc_core_angle(&core, i * 7500000U, 5000000U, &(hc_angle_t){0});
  }
  handcap_Encoder encoder = core_says_kind(handcap_Envelope_encoder_tag).body.encoder;
  assert_int_equal(encoder.angle_counts_count, 10);
  assert_int_equal(encoder.period_ns, 7500000);
}

static void angles_and_button_events_beyond_their_queues_are_counted_oldest_first(void **state) {
  (void)state;
  host_streams(true);
  put_angles(0, HC_ANGLES + 2, (hc_angle_t){.counts = 0});
  for (uint32_t i = 1; i <= HC_BUTTONS + 1; i++) {
    hc_core_button(&core, &(handcap_Button){.presses = i});
  }
  assert_int_equal(core_says_kind(handcap_Envelope_button_tag).body.button.presses, 2);
  assert_int_equal(core_says_kind(handcap_Envelope_encoder_tag).body.encoder.angle_counts[0], 2);
  assert_int_equal(next_status().messages_dropped, 3);
}

static void a_button_is_told_of_without_a_stream(void **state) {
  (void)state;
  hc_core_button(&core, &(handcap_Button){
                            .edge = handcap_Button_Edge_EDGE_PRESSED, .edge_t_ns = 99000, .presses = 1});
  handcap_Button button = core_says_kind(handcap_Envelope_button_tag).body.button;
  assert_int_equal(button.edge, handcap_Button_Edge_EDGE_PRESSED);
  assert_true(button.edge_t_ns == 99000);
}

static void the_time_of_a_request_is_its_first_byte_and_of_the_answer_is_now(void **state) {
  (void)state;
  board.now_ns = 2000;
  ask_for_the_time(UINT64_MAX, 1500);
  board.now_ns = 9000;
  handcap_SyncResponse response = core_says_kind(handcap_Envelope_sync_response_tag).body.sync_response;
  assert_true(response.host_sent_t_ns == UINT64_MAX);
  assert_true(response.board_received_t_ns == 1500);
  assert_true(response.board_sent_t_ns == 9000);
}

static void an_answer_says_when_its_first_byte_goes_out_and_not_when_the_work_on_it_began(void **state) {
  (void)state;
  ask_for_the_time(1, 1);
  board.tick_ns = 50000; /* what stands between two looks at the clock takes so long */
  handcap_SyncResponse response = core_says_kind(handcap_Envelope_sync_response_tag).body.sync_response;
  assert_true(response.board_sent_t_ns == hal_now_ns());
}

static void requests_beyond_the_queue_are_not_answered_and_counted(void **state) {
  (void)state;
  for (uint32_t i = 0; i < HC_SYNCS + 2; i++) {
    ask_for_the_time(i, i);
  }
  assert_int_equal(core_says_count(handcap_Envelope_sync_response_tag), HC_SYNCS);
  assert_int_equal(next_status().messages_dropped, 2);
}

static void what_loses_its_meaning_by_waiting_goes_first(void **state) {
  (void)state;
  host_streams(true);
  board.now_ns = 2U * SECOND_NS;
  put_angles(0, 10, (hc_angle_t){0});
  hc_core_stamp(&core, &(handcap_FrameStamp){0});
  put_samples(0, 20);
  hc_core_button(&core, &(handcap_Button){0});
  host_commands(&(handcap_Command){.id = 1, .which_what = handcap_Command_identify_tag});
  ask_for_the_time(1, 1);
  static const pb_size_t order[] = {
      handcap_Envelope_sync_response_tag, handcap_Envelope_hello_tag,       handcap_Envelope_ack_tag,
      handcap_Envelope_button_tag,        handcap_Envelope_imu_batch_tag,   handcap_Envelope_frame_stamp_tag,
      handcap_Envelope_encoder_tag,       handcap_Envelope_status_tag,
  };
  handcap_Envelope envelope;
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    assert_true(core_says(&envelope));
    assert_int_equal(envelope.which_body, order[i]);
  }
  assert_false(core_says(&envelope));
}

static void a_status_comes_every_second(void **state) {
  (void)state;
  (void)core_says_count(0);
  handcap_Envelope envelope;
  for (uint32_t second = 1; second < 4; second++) {
    board.now_ns = second * (uint64_t)SECOND_NS - 1;
    assert_false(core_says(&envelope));
    board.now_ns++;
    assert_true(core_says(&envelope));
    assert_int_equal(envelope.which_body, handcap_Envelope_status_tag);
    assert_int_equal(envelope.body.status.stack_free_bytes, 4321);
    assert_true(isnan(envelope.body.status.supply_v));
    assert_false(core_says(&envelope));
  }
}

static void the_first_status_comes_a_second_after_boot(void **state) {
  (void)state;
  board.now_ns = 5U * (uint64_t)SECOND_NS;
  core_boot_again();
  assert_int_equal(core_says_count(handcap_Envelope_status_tag), 0);
  board.now_ns += SECOND_NS - 1;
  handcap_Envelope envelope;
  assert_false(core_says(&envelope));
  board.now_ns++;
  assert_true(core_says(&envelope));
}

static void losses_are_looked_at_a_hundred_times_a_second_and_no_more(void **state) {
  (void)state;
  (void)core_says_count(0);
  handcap_Envelope envelope;
  for (board.now_ns = 100000000U; board.now_ns < 200000000U; board.now_ns += 100000U) {
    assert_false(core_says(&envelope));
  }
  assert_in_range(board.losses_asked, 9, 11);
}

static void a_new_loss_is_told_within_a_tenth_of_a_second_and_only_once(void **state) {
  (void)state;
  (void)core_says_count(0);
  handcap_Envelope envelope;
  board.losses.imu_stuck = 1;
  board.now_ns = 99999999U;
  assert_false(core_says(&envelope));
  board.now_ns = 100000000U;
  assert_true(core_says(&envelope));
  assert_int_equal(envelope.body.status.imu_stuck, 1);
  board.now_ns = 500000000U;
  assert_false(core_says(&envelope));
}

static void every_count_of_the_drivers_is_told(void **state) {
  (void)state;
  board.losses = (hc_losses_t){
      .imu_fifo_lost = 1,
      .imu_invalid_samples = 2,
      .imu_fifo_resets = 3,
      .imu_stuck = 4,
      .frame_stamps_dropped = 5,
      .rx_overruns = 6,
      .encoder_read_errors = 7,
  };
  handcap_Status status = next_status();
  assert_int_equal(status.imu_samples_lost, 1);
  assert_int_equal(status.imu_invalid_samples, 2);
  assert_int_equal(status.imu_fifo_resets, 3);
  assert_int_equal(status.imu_stuck, 4);
  assert_int_equal(status.frame_stamps_dropped, 5);
  assert_int_equal(status.rx_overruns, 6);
  assert_int_equal(status.encoder_read_errors, 7);
}

static void each_new_loss_brings_a_status(void **state) {
  (void)state;
  uint32_t *counts[] = {
      &board.losses.imu_fifo_lost, &board.losses.imu_invalid_samples,  &board.losses.imu_fifo_resets,
      &board.losses.imu_stuck,     &board.losses.frame_stamps_dropped, &board.losses.rx_overruns,
      &board.losses.encoder_read_errors, &core.messages_dropped, &core.rx_not_a_message,
      &core.deframer[0].bad_crc,   &core.deframer[1].bad_frame,        &core.deframer[1].too_long,
  };
  (void)core_says_count(0);
  size_t kinds = sizeof counts / sizeof counts[0];
  for (size_t i = 0; i < kinds; i++) {
    for (size_t j = i; j < kinds; j++) { /* alone, and with each other one: no two losses make up for each other */
      (*counts[i])++;
      *counts[j] += j == i ? 0 : 1;
      board.now_ns += 200000000U;
      assert_int_equal(core_says_count(handcap_Envelope_status_tag), 1);
      board.now_ns += 200000000U;
      assert_int_equal(core_says_count(handcap_Envelope_status_tag), 0);
    }
  }
}

static void a_loss_is_seen_ten_milliseconds_after_the_last_look(void **state) {
  (void)state;
  (void)core_says_count(0);
  board.now_ns = 100000000U;
  assert_int_equal(core_says_count(0), 0);
  board.losses.imu_stuck = 1;
  board.now_ns += 9999999U;
  assert_int_equal(core_says_count(handcap_Envelope_status_tag), 0);
  board.now_ns++;
  assert_int_equal(core_says_count(handcap_Envelope_status_tag), 1);
}

static void a_message_that_cannot_be_encoded_is_counted_and_the_next_one_goes_out(void **state) {
  (void)state;
  board.sensor_count = 1;
  memset(board.sensors[0].model, 'x', sizeof board.sensors[0].model); /* a text without end */
  handcap_Envelope envelope;
  assert_false(core_says(&envelope)); /* Hello */
  board.sensor_count = 0;
  handcap_Status status = next_status();
  assert_int_equal(status.messages_dropped, 1);
}

static void damage_on_either_link_is_told(void **state) {
  (void)state;
  static const uint8_t wrong_crc[] = {6, 1, 2, 3, 4, 5, 0};
  for (size_t link = 0; link < HC_LINKS; link++) {
    for (size_t i = 0; i < sizeof wrong_crc; i++) {
      hc_core_receive(&core, link, wrong_crc[i], 0);
    }
  }
  handcap_Status status = next_status();
  assert_int_equal(status.rx_bad_crc, 2);
  assert_int_equal(status.rx_bad_frame, 0);
}

static void counts_of_damage_do_not_grow_by_being_told(void **state) {
  (void)state;
  core.deframer[0].bad_crc = 2;
  core.deframer[1].too_long = 1;
  for (uint32_t i = 0; i < 3; i++) {
    handcap_Status status = next_status();
    assert_int_equal(status.rx_bad_crc, 2);
    assert_int_equal(status.rx_too_long, 1);
  }
}

static void frames_of_two_links_do_not_mix(void **state) {
  (void)state;
  handcap_Command command = {.id = 3, .which_what = handcap_Command_mark_take_start_tag};
  hc_core_receive(&core, 1, 17, 0); /* a frame begun on the other link and never ended */
  hc_core_receive(&core, 1, 1, 0);
  host_commands(&command);
  assert_int_equal(core_says_kind(handcap_Envelope_ack_tag).body.ack.id, 3);
}

static void messages_that_a_board_only_sends_are_ignored_when_they_come_in(void **state) {
  (void)state;
  (void)core_says_count(0);
  handcap_Envelope echo = {.which_body = handcap_Envelope_status_tag};
  host_sends(&echo, 0);
  handcap_Envelope envelope;
  assert_false(core_says(&envelope));
  assert_int_equal(next_status().rx_bad_frame, 0);
}

static void only_ailing_sensors_stand_in_a_status(void **state) {
  (void)state;
  static const handcap_SensorState states[] = {
      handcap_SensorState_SENSOR_STATE_RUNNING, handcap_SensorState_SENSOR_STATE_STUCK,
      handcap_SensorState_SENSOR_STATE_STOPPED, handcap_SensorState_SENSOR_STATE_ABSENT};
  board.sensor_count = 4;
  for (size_t i = 0; i < 4; i++) {
    board.sensors[i] = (handcap_Sensor){.kind = handcap_SensorKind_SENSOR_KIND_IMU, .state = states[i]};
  }
  handcap_Status status = next_status();
  assert_int_equal(status.sensors_count, 2);
  assert_int_equal(status.sensors[0].state, handcap_SensorState_SENSOR_STATE_STUCK);
  assert_int_equal(status.sensors[1].state, handcap_SensorState_SENSOR_STATE_ABSENT);
}

static void the_longest_turn_is_told_and_then_measured_anew(void **state) {
  (void)state;
  static const uint32_t turns_us[] = {10, 900, 30};
  for (size_t i = 0; i < 3; i++) {
    assert_true(hc_core_wake(&core) == board.now_ns);
    board.now_ns += turns_us[i] * 1000U;
    hc_core_rest(&core);
    board.now_ns += 5000000U; /* asleep: not the loop's fault */
  }
  assert_int_equal(board.watchdog_feeds, 3);
  assert_int_equal(next_status().loop_late_us_max, 900);
  assert_int_equal(next_status().loop_late_us_max, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(the_first_message_says_who_the_board_is, begin),
      cmocka_unit_test_setup(a_text_too_long_for_its_field_is_cut, begin),
      cmocka_unit_test_setup(every_message_counts_up_by_one, begin),
      cmocka_unit_test_setup(nothing_streams_until_asked, begin),
      cmocka_unit_test_setup(what_waits_when_the_stream_ends_is_not_sent_when_it_begins_again, begin),
      cmocka_unit_test_setup(a_batch_bears_the_samples_with_time_period_and_scale, begin),
      cmocka_unit_test_setup(the_period_of_a_batch_is_the_one_its_samples_have, begin),
      cmocka_unit_test_setup(a_lonely_sample_has_the_period_that_the_driver_measured, begin),
      cmocka_unit_test_setup(samples_beyond_the_queue_are_lost_and_told, begin),
      cmocka_unit_test_setup(the_oldest_stamp_gives_way_and_samples_never_do, begin),
      cmocka_unit_test_setup(ten_angles_make_a_message, begin),
      cmocka_unit_test_setup(angles_on_both_sides_of_a_change_are_told_apart, begin),
      cmocka_unit_test_setup(a_lost_angle_ends_a_message, begin),
      cmocka_unit_test_setup(angles_and_button_events_beyond_their_queues_are_counted_oldest_first, begin),
      cmocka_unit_test_setup(a_button_is_told_of_without_a_stream, begin),
      cmocka_unit_test_setup(the_time_of_a_request_is_its_first_byte_and_of_the_answer_is_now, begin),
      cmocka_unit_test_setup(an_answer_says_when_its_first_byte_goes_out_and_not_when_the_work_on_it_began, begin),
      cmocka_unit_test_setup(requests_beyond_the_queue_are_not_answered_and_counted, begin),
      cmocka_unit_test_setup(what_loses_its_meaning_by_waiting_goes_first, begin),
      cmocka_unit_test_setup(a_status_comes_every_second, begin),
      cmocka_unit_test_setup(the_first_status_comes_a_second_after_boot, begin),
      cmocka_unit_test_setup(losses_are_looked_at_a_hundred_times_a_second_and_no_more, begin),
      cmocka_unit_test_setup(a_new_loss_is_told_within_a_tenth_of_a_second_and_only_once, begin),
      cmocka_unit_test_setup(every_count_of_the_drivers_is_told, begin),
      cmocka_unit_test_setup(each_new_loss_brings_a_status, begin),
      cmocka_unit_test_setup(a_loss_is_seen_ten_milliseconds_after_the_last_look, begin),
      cmocka_unit_test_setup(a_message_that_cannot_be_encoded_is_counted_and_the_next_one_goes_out, begin),
      cmocka_unit_test_setup(angles_half_a_period_late_belong_together_and_the_period_is_the_measured_one, begin),
      cmocka_unit_test_setup(damage_on_either_link_is_told, begin),
      cmocka_unit_test_setup(counts_of_damage_do_not_grow_by_being_told, begin),
      cmocka_unit_test_setup(frames_of_two_links_do_not_mix, begin),
      cmocka_unit_test_setup(messages_that_a_board_only_sends_are_ignored_when_they_come_in, begin),
      cmocka_unit_test_setup(only_ailing_sensors_stand_in_a_status, begin),
      cmocka_unit_test_setup(the_longest_turn_is_told_and_then_measured_anew, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
