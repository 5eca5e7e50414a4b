/* Frames: what goes in comes out, and whatever else comes in is counted by its cause. */
#include <string.h>

#include "hc_crc32.h"
#include "virtual_board.h"

static hc_deframer_t deframer;

static bool push_all(const uint8_t *bytes, size_t len) {
  bool whole = false;
  for (size_t i = 0; i < len; i++) {
    whole = hc_deframer_push(&deframer, bytes[i]);
  }
  return whole;
}

static int begin(void **state) {
  (void)state;
  hc_deframer_init(&deframer);
  return 0;
}

static void assert_losses(uint32_t bad_crc, uint32_t bad_frame, uint32_t too_long) {
  assert_int_equal(deframer.bad_crc, bad_crc);
  assert_int_equal(deframer.bad_frame, bad_frame);
  assert_int_equal(deframer.too_long, too_long);
}

static void crc_of_the_nine_digits_is_the_published_check_value(void **state) {
  (void)state;
  assert_int_equal(hc_crc32(0, (const uint8_t *)"123456789", 9), 0xcbf43926);
}

static void crc_of_pieces_is_the_crc_of_the_whole(void **state) {
  (void)state;
  uint32_t crc = hc_crc32(0, (const uint8_t *)"1234", 4);
  assert_int_equal(hc_crc32(crc, (const uint8_t *)"56789", 5), 0xcbf43926);
}

static void message_of_any_length_and_content_comes_back(void **state) {
  (void)state;
  static uint8_t message[HC_FRAME_MAX], frame[HC_COBS_MAX(HC_FRAME_MAX) + 1];
  uint32_t random = 1;
  for (size_t len = 1; len <= 1000; len++) {
    for (size_t i = 0; i < len; i++) {
      random = random * 1664525U + 1013904223U;
      /* Zeros dense, sparse or absent in turn: blocks of every length. */
      message[i] = random >> 24 < (len % 3U) * 100U ? 0 : (uint8_t)(1U + (random >> 16) % 255U);
    }
    uint8_t copy[HC_FRAME_MAX];
    memcpy(copy, message, len);
    size_t framed = hc_frame(message, len, frame);
    assert_true(framed <= HC_COBS_MAX(len + HC_CRC_LEN) + 1);
    assert_null(memchr(frame, 0, framed - 1));
    assert_true(push_all(frame, framed));
    assert_int_equal(deframer.len, len);
    assert_memory_equal(deframer.bytes, copy, len);
  }
  assert_losses(0, 0, 0);
}

static void a_flipped_bit_anywhere_loses_the_frame_and_is_counted_once(void **state) {
  (void)state;
  uint8_t message[40 + HC_CRC_LEN] = "a message without any zeros in it......";
  uint8_t frame[64];
  size_t len = hc_frame(message, 39, frame);
  for (size_t bit = 0; bit < 8 * (len - 1); bit++) {
    uint8_t damaged[64];
    memcpy(damaged, frame, len);
    damaged[bit / 8] ^= (uint8_t)(1U << bit % 8);
    if (damaged[bit / 8] == 0) {
      continue; /* a zero makes two frames of one */
    }
    uint32_t before = deframer.bad_crc + deframer.bad_frame;
    assert_false(push_all(damaged, len));
    assert_int_equal(deframer.bad_crc + deframer.bad_frame, before + 1);
    assert_true(push_all(frame, len));
  }
}

static void what_is_wrong_with_a_frame_decides_which_count_moves(void **state) {
  (void)state;
  static const uint8_t beyond_the_end[] = {5, 1, 2, 0};
  static const uint8_t wrong_crc[] = {6, 1, 2, 3, 4, 5, 0};
  static const uint8_t only_a_crc[] = {1, 1, 1, 1, 0}; /* CRC-32 of nothing is zero */
  assert_false(push_all(beyond_the_end, sizeof beyond_the_end));
  assert_losses(0, 1, 0);
  assert_false(push_all(wrong_crc, sizeof wrong_crc));
  assert_losses(1, 1, 0);
  assert_false(push_all(only_a_crc, sizeof only_a_crc));
  assert_losses(1, 2, 0);
}

static void zeros_alone_are_no_loss(void **state) {
  (void)state;
  static const uint8_t zeros[16];
  assert_false(push_all(zeros, sizeof zeros));
  assert_losses(0, 0, 0);
}

static void bytes_without_end_are_one_frame_too_long_and_the_next_one_comes_through(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 100000; i++) {
    assert_false(hc_deframer_push(&deframer, (uint8_t)(1 + i % 255)));
  }
  assert_false(hc_deframer_push(&deframer, 0));
  assert_losses(0, 0, 1);
  uint8_t message[8 + HC_CRC_LEN] = "good", frame[32];
  assert_true(push_all(frame, hc_frame(message, 4, frame)));
  assert_memory_equal(deframer.bytes, "good", 4);
  assert_losses(0, 0, 1);
}

static void the_longest_frame_is_1024_bytes(void **state) {
  (void)state;
  static uint8_t message[HC_FRAME_MAX + HC_CRC_LEN], frame[HC_COBS_MAX(HC_FRAME_MAX) + 8];
  for (size_t longer = 0; longer < 2; longer++) {
    memset(message, 1, sizeof message);
    size_t len = hc_frame(message, HC_FRAME_MAX - 5U - HC_CRC_LEN + longer, frame);
    assert_int_equal(len, HC_FRAME_MAX + 1U + longer);
    assert_int_equal(push_all(frame, len), longer == 0);
  }
  assert_losses(0, 0, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(crc_of_the_nine_digits_is_the_published_check_value, begin),
      cmocka_unit_test_setup(crc_of_pieces_is_the_crc_of_the_whole, begin),
      cmocka_unit_test_setup(message_of_any_length_and_content_comes_back, begin),
      cmocka_unit_test_setup(a_flipped_bit_anywhere_loses_the_frame_and_is_counted_once, begin),
      cmocka_unit_test_setup(what_is_wrong_with_a_frame_decides_which_count_moves, begin),
      cmocka_unit_test_setup(zeros_alone_are_no_loss, begin),
      cmocka_unit_test_setup(bytes_without_end_are_one_frame_too_long_and_the_next_one_comes_through, begin),
      cmocka_unit_test_setup(the_longest_frame_is_1024_bytes, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
