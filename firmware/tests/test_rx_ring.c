/* Bytes from interrupt to loop, each frame with the time of its first byte. */
#include <string.h>

#include "hc_rx_ring.h"
#include "virtual_board.h"

static hc_rx_ring_t ring;

static int begin(void **state) {
  (void)state;
  memset(&ring, 0, sizeof ring);
  return 0;
}

static void assert_next(uint8_t byte, uint64_t t_ns) {
  uint8_t got;
  uint64_t got_t_ns;
  assert_true(hc_rx_pop(&ring, &got, &got_t_ns));
  assert_int_equal(got, byte);
  assert_int_equal(got_t_ns, t_ns);
}

static void every_byte_of_a_frame_bears_the_time_of_its_first(void **state) {
  (void)state;
  static const uint8_t bytes[] = {7, 8, 0, 0, 9, 0};
  for (uint8_t i = 0; i < sizeof bytes; i++) {
    hc_rx_push(&ring, bytes[i], 100U + i);
  }
  assert_next(7, 100);
  assert_next(8, 100);
  assert_next(0, 100);
  assert_next(0, 100); /* idle line: nobody asks for its time */
  assert_next(9, 104);
  assert_next(0, 104);
  uint8_t byte;
  uint64_t t_ns;
  assert_false(hc_rx_pop(&ring, &byte, &t_ns));
}

static void bytes_without_room_are_counted_and_the_rest_stays_in_order(void **state) {
  (void)state;
  for (uint32_t i = 0; i < HC_RX_BYTES + 10; i++) {
    hc_rx_push(&ring, (uint8_t)(1 + i % 200), 5);
  }
  assert_int_equal(ring.overruns, 10);
  for (uint32_t i = 0; i < HC_RX_BYTES; i++) {
    assert_next((uint8_t)(1 + i % 200), 5);
  }
  uint8_t byte;
  uint64_t t_ns;
  assert_false(hc_rx_pop(&ring, &byte, &t_ns));
}

static void frames_beyond_those_it_can_stamp_are_overruns_and_never_get_another_ones_time(void **state) {
  (void)state;
  for (uint32_t i = 0; i < HC_RX_FRAMES + 3; i++) {
    hc_rx_push(&ring, 1, 1000 + i);
    hc_rx_push(&ring, 0, 1000 + i);
  }
  assert_int_equal(ring.overruns, 3);
  for (uint32_t i = 0; i < HC_RX_FRAMES; i++) {
    assert_next(1, 1000 + i);
    assert_next(0, 1000 + i);
  }
}

static void it_runs_for_ever(void **state) {
  (void)state;
  ring.written = ring.read = UINT32_MAX - 3;
  ring.frames_begun = ring.frames_read = UINT32_MAX - 1;
  for (uint64_t i = 0; i < 10000; i++) {
    hc_rx_push(&ring, 3, i);
    hc_rx_push(&ring, 0, i);
    assert_next(3, i);
    assert_next(0, i);
  }
  assert_int_equal(ring.overruns, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(every_byte_of_a_frame_bears_the_time_of_its_first, begin),
      cmocka_unit_test_setup(bytes_without_room_are_counted_and_the_rest_stays_in_order, begin),
      cmocka_unit_test_setup(frames_beyond_those_it_can_stamp_are_overruns_and_never_get_another_ones_time, begin),
      cmocka_unit_test_setup(it_runs_for_ever, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
