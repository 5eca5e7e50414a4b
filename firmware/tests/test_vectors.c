/* Golden vectors: the host's tools wrote them, the board's code reads and writes the same bytes. */
#include <pb_decode.h>
#include <pb_encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtual_board.h"

#define VECTORS "protocol/vectors/"

static char *line;
static size_t line_room;

/* The columns of the file's next line; false at its end. */
static bool next_line(FILE *file, char *columns[3]) {
  ssize_t len = getline(&line, &line_room, file);
  if (len <= 0) {
    return false;
  }
  line[strcspn(line, "\n")] = 0;
  columns[0] = strtok(line, " ");
  columns[1] = strtok(NULL, " ");
  columns[2] = strtok(NULL, " ");
  return true;
}

static FILE *open_vectors(const char *name) {
  char path[128];
  (void)snprintf(path, sizeof path, "%s%s", VECTORS, name);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  return file;
}

static size_t from_hex(const char *hex, uint8_t *bytes) {
  size_t len = strlen(hex) / 2;
  for (size_t i = 0; i < len; i++) {
    unsigned value;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
    bytes[i] = (uint8_t)value;
  }
  return len;
}

static bool push_all(hc_deframer_t *deframer, const uint8_t *bytes, size_t len) {
  bool whole = false;
  for (size_t i = 0; i < len; i++) {
    whole = hc_deframer_push(deframer, bytes[i]);
  }
  return whole;
}

static uint8_t frame[8192], message[8192], made[8192];

static void framing_vectors_are_made_and_taken_apart_to_the_byte(void **state) {
  (void)state;
  static hc_deframer_t deframer;
  hc_deframer_init(&deframer);
  FILE *file = open_vectors("framing.txt");
  char *columns[3];
  uint32_t count = 0;
  while (next_line(file, columns)) {
    size_t message_len = from_hex(columns[1], message);
    size_t frame_len = from_hex(columns[2], frame);
    assert_true(push_all(&deframer, frame, frame_len));
    assert_int_equal(deframer.len, message_len);
    assert_memory_equal(deframer.bytes, message, message_len);
    assert_int_equal(hc_frame(message, message_len, made), frame_len);
    assert_memory_equal(made, frame, frame_len);
    count++;
  }
  (void)fclose(file);
  assert_true(count >= 10);
}

/* Messages that a serial board does not know keep their envelope and lose their body. */
static bool known(const char *name) {
  return strncmp(name, "video_frame", 11) != 0 && strncmp(name, "hand_joints", 11) != 0;
}

static void message_vectors_decode_and_encode_to_the_same_bytes(void **state) {
  (void)state;
  static hc_deframer_t deframer;
  static handcap_Envelope envelope;
  hc_deframer_init(&deframer);
  FILE *file = open_vectors("messages.txt");
  char *columns[3];
  uint32_t count = 0;
  while (next_line(file, columns)) {
    size_t frame_len = from_hex(columns[1], frame);
    assert_true(push_all(&deframer, frame, frame_len));
    pb_istream_t in = pb_istream_from_buffer(deframer.bytes, deframer.len);
    assert_true(pb_decode(&in, handcap_Envelope_fields, &envelope));
    if (!known(columns[0])) {
      assert_int_equal(envelope.which_body, 0);
      continue;
    }
    pb_ostream_t out = pb_ostream_from_buffer(message, sizeof message);
    assert_true(pb_encode(&out, handcap_Envelope_fields, &envelope));
    assert_int_equal(hc_frame(message, out.bytes_written, made), frame_len);
    assert_memory_equal(made, frame, frame_len);
    count++;
  }
  (void)fclose(file);
  assert_true(count >= 20);
}

static void refused_vectors_are_counted_by_their_reason_and_a_good_frame_follows(void **state) {
  (void)state;
  FILE *file = open_vectors("refused.txt");
  char *columns[3];
  uint32_t count = 0;
  while (next_line(file, columns)) {
    core_boot();
    size_t frame_len = from_hex(columns[2], frame);
    for (size_t i = 0; i < frame_len; i++) {
      hc_core_receive(&core, 0, frame[i], 0);
    }
    bool crc = strcmp(columns[1], "bad_crc") == 0;
    bool length = strcmp(columns[1], "too_long") == 0;
    host_commands(&(handcap_Command){.id = 5, .which_what = handcap_Command_identify_tag});
    assert_int_equal(core_says_kind(handcap_Envelope_ack_tag).body.ack.id, 5);
    board.now_ns = 1500000000U;
    handcap_Status status = core_says_kind(handcap_Envelope_status_tag).body.status;
    assert_int_equal(status.rx_bad_crc, crc);
    assert_int_equal(status.rx_too_long, length);
    assert_int_equal(status.rx_bad_frame, !crc && !length);
    count++;
  }
  (void)fclose(file);
  assert_true(count >= 10);
}

static int free_line(void **state) {
  (void)state;
  free(line);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(framing_vectors_are_made_and_taken_apart_to_the_byte),
      cmocka_unit_test(message_vectors_decode_and_encode_to_the_same_bytes),
      cmocka_unit_test(refused_vectors_are_counted_by_their_reason_and_a_good_frame_follows),
  };
  return cmocka_run_group_tests(tests, NULL, free_line);
}
