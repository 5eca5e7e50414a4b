/* Inertial samples become batches of one period each. */
#include <string.h>

#include "hc_imu_queue.h"
#include "virtual_board.h"

#define PERIOD_NS 1000000U

static hc_imu_queue_t queue;

static int begin(void **state) {
  (void)state;
  memset(&queue, 0, sizeof queue);
  return 0;
}

static void put(uint64_t t_ns, int16_t number) {
  hc_imu_put(&queue, t_ns, &(hc_imu_sample_t){.gyro = {number}});
}

static void assert_oldest(uint64_t t_ns, int16_t number) {
  uint64_t got_t_ns;
  assert_int_equal(hc_imu_peek(&queue, 0, &got_t_ns)->gyro[0], number);
  assert_int_equal(got_t_ns, t_ns);
}

static void nothing_makes_no_batch(void **state) {
  (void)state;
  assert_int_equal(hc_imu_batch_len(&queue, UINT64_MAX, PERIOD_NS), 0);
}

static void a_batch_has_twenty_samples(void **state) {
  (void)state;
  for (int16_t i = 0; i < 50; i++) {
    assert_int_equal(hc_imu_batch_len(&queue, 0, PERIOD_NS), i < 20 ? 0 : 20);
    put((uint64_t)i * PERIOD_NS, i);
  }
  assert_oldest(0, 0);
  hc_imu_drop(&queue, 20);
  assert_oldest(20U * PERIOD_NS, 20);
  assert_int_equal(hc_imu_batch_len(&queue, 0, PERIOD_NS), 20);
}

static void samples_older_than_a_tenth_of_a_second_do_not_wait_for_company(void **state) {
  (void)state;
  put(5, 1);
  put(5 + PERIOD_NS, 2);
  assert_int_equal(hc_imu_batch_len(&queue, 5 + 99999999U, PERIOD_NS), 0);
  assert_int_equal(hc_imu_batch_len(&queue, 5 + 100000000U, PERIOD_NS), 2);
}

static void a_batch_ends_before_a_gap_and_before_a_change_of_rate(void **state) {
  (void)state;
  static const uint64_t steps[] = {PERIOD_NS + PERIOD_NS / 2 + 1, PERIOD_NS / 2 - 1, 2 * PERIOD_NS, 0};
  for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
    memset(&queue, 0, sizeof queue);
    for (uint64_t i = 0; i < 20; i++) {
      put(1000 * (uint64_t)PERIOD_NS + i * PERIOD_NS + (i < 7 ? 0 : steps[s] - PERIOD_NS), (int16_t)i);
    }
    assert_int_equal(hc_imu_batch_len(&queue, 0, PERIOD_NS), 7);
    hc_imu_drop(&queue, 7);
    assert_int_equal(hc_imu_batch_len(&queue, UINT64_MAX, PERIOD_NS), 13);
  }
}

static void exactly_half_a_period_either_way_is_no_gap(void **state) {
  (void)state;
  static const uint64_t steps[] = {PERIOD_NS + PERIOD_NS / 2, PERIOD_NS / 2};
  for (size_t s = 0; s < 2; s++) {
    memset(&queue, 0, sizeof queue);
    for (uint64_t i = 0; i < 20; i++) {
      put(i * steps[s], (int16_t)i);
    }
    assert_int_equal(hc_imu_batch_len(&queue, 0, PERIOD_NS), 20);
  }
}

static void a_clock_one_percent_off_makes_no_gap(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 20; i++) {
    put(i * 1010000U, (int16_t)i);
  }
  assert_int_equal(hc_imu_batch_len(&queue, 0, PERIOD_NS), 20);
}

static void samples_without_room_are_lost_and_counted_and_the_waiting_ones_stay(void **state) {
  (void)state;
  for (uint32_t i = 0; i < HC_IMU_QUEUE + 5; i++) {
    put((uint64_t)i * PERIOD_NS, (int16_t)i);
  }
  assert_int_equal(queue.lost, 5);
  assert_oldest(0, 0);
  hc_imu_drop(&queue, HC_IMU_QUEUE - 1);
  assert_oldest((uint64_t)(HC_IMU_QUEUE - 1) * PERIOD_NS, (int16_t)(HC_IMU_QUEUE - 1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(nothing_makes_no_batch, begin),
      cmocka_unit_test_setup(a_batch_has_twenty_samples, begin),
      cmocka_unit_test_setup(samples_older_than_a_tenth_of_a_second_do_not_wait_for_company, begin),
      cmocka_unit_test_setup(a_batch_ends_before_a_gap_and_before_a_change_of_rate, begin),
      cmocka_unit_test_setup(exactly_half_a_period_either_way_is_no_gap, begin),
      cmocka_unit_test_setup(a_clock_one_percent_off_makes_no_gap, begin),
      cmocka_unit_test_setup(samples_without_room_are_lost_and_counted_and_the_waiting_ones_stay, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
