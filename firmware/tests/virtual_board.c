#include "virtual_board.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

virtual_board_t board;
hc_core_t core;

void virtual_board_reset(void) {
  memset(&board, 0, sizeof board);
  board.obeys = true;
}

uint64_t hal_now_ns(void) {
  board.now_ns += board.tick_ns;
  return board.now_ns;
}

bool hal_set_imu_rate(uint32_t rate_hz) {
  board.calls++;
  board.imu_rate_hz = rate_hz;
  return board.obeys;
}

bool hal_set_trigger(bool on, uint32_t rate_mhz, uint32_t exposure_us) {
  board.calls++;
  board.trigger = (handcap_SetTrigger){.on = on, .rate_mhz = rate_mhz, .exposure_us = exposure_us};
  return board.obeys;
}

bool hal_mark_take_start(void) {
  board.calls++;
  board.take_starts++;
  return board.obeys;
}

bool hal_set_light(const handcap_Light *light) {
  board.calls++;
  board.light = *light;
  return board.obeys;
}

void hal_reboot_to_bootloader(void) {
  board.bootloader_reboots++;
}

void hal_watchdog_feed(void) {
  board.watchdog_feeds++;
}

uint32_t hal_stack_free_bytes(void) {
  return 4321;
}

size_t hal_sensors(handcap_Sensor *sensors, size_t most) {
  assert_true(board.sensor_count <= most);
  memcpy(sensors, board.sensors, sizeof board.sensors);
  return board.sensor_count;
}

void hal_losses(hc_losses_t *losses) {
  board.losses_asked++;
  *losses = board.losses;
}

void core_boot(void) {
  virtual_board_reset();
  core_boot_again();
}

void core_boot_again(void) {
  hc_core_init(&core, &(hc_identity_t){
                          .uid = 0xe66054815b1d3481U,
                          .boot_id = 77,
                          .boot_count = 3,
                          .reset_cause = handcap_ResetCause_RESET_CAUSE_PIN,
                          .board = "virtual",
                          .firmware_version = "1.2.3",
                          .git_hash = "0123456789ab+",
                      });
}

void host_sends(const handcap_Envelope *envelope, uint64_t frame_t_ns) {
  uint8_t message[handcap_Envelope_size + HC_CRC_LEN];
  uint8_t frame[HC_SENT_MAX];
  pb_ostream_t stream = pb_ostream_from_buffer(message, handcap_Envelope_size);
  assert_true(pb_encode(&stream, handcap_Envelope_fields, envelope));
  size_t len = hc_frame(message, stream.bytes_written, frame);
  for (size_t i = 0; i < len; i++) {
    hc_core_receive(&core, 0, frame[i], frame_t_ns);
  }
}

void host_commands(const handcap_Command *command) {
  handcap_Envelope envelope = {.which_body = handcap_Envelope_command_tag};
  envelope.body.command = *command;
  host_sends(&envelope, board.now_ns);
}

void host_streams(bool on) {
  static uint32_t id = 1000000;
  handcap_Command command = {.id = ++id, .which_what = handcap_Command_stream_tag};
  command.what.stream.on = on;
  host_commands(&command);
  (void)core_says_count(0);
}

bool core_says(handcap_Envelope *envelope) {
  static uint8_t frame[HC_SENT_MAX];
  static hc_deframer_t deframer;
  size_t len = hc_core_next_frame(&core, frame);
  if (len == 0) {
    return false;
  }
  hc_deframer_init(&deframer);
  bool whole = false;
  for (size_t i = 0; i < len; i++) {
    assert_false(whole);
    whole = hc_deframer_push(&deframer, frame[i]);
  }
  assert_true(whole);
  pb_istream_t stream = pb_istream_from_buffer(deframer.bytes, deframer.len);
  assert_true(pb_decode(&stream, handcap_Envelope_fields, envelope));
  return true;
}

handcap_Envelope core_says_kind(pb_size_t tag) {
  handcap_Envelope envelope;
  while (core_says(&envelope)) {
    if (envelope.which_body == tag) {
      return envelope;
    }
  }
  fail_msg("the core said nothing of kind %u", (unsigned)tag);
  return envelope;
}

uint32_t core_says_count(pb_size_t tag) {
  handcap_Envelope envelope;
  uint32_t count = 0;
  while (core_says(&envelope)) {
    count += envelope.which_body == tag ? 1U : 0U;
  }
  return count;
}
