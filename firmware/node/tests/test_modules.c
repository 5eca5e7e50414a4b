/* What the node's modules promise, without camera, sensor or host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jpeglib.h>

#include "h264_scan.h"
#include "imu.h"
#include "jpeg_encode.h"
#include "jpeg_scan.h"
#include "queue.h"

static picture_t *picture_numbered(uint32_t frame, size_t size, bool key) {
  uint8_t *bytes = calloc(1, size);
  picture_t *picture = picture_new(bytes, size);
  free(bytes);
  picture->frame = frame;
  picture->key = key;
  return picture;
}

#define PICTURE_COST(size) (sizeof(picture_t) + (size))

static uint32_t pop_number(picture_queue_t *queue) {
  uint32_t dropped;
  picture_t *picture = picture_queue_pop(queue, &dropped);
  assert_non_null(picture);
  uint32_t frame = picture->frame;
  free(picture);
  return frame;
}

static void a_full_queue_drops_the_oldest_pictures_and_counts_them(void **state) {
  (void)state;
  picture_queue_t queue;
  picture_queue_init(&queue, 3 * PICTURE_COST(1000));
  for (uint32_t frame = 0; frame < 10; frame++)
    picture_queue_push(&queue, picture_numbered(frame, 1000, true));
  assert_int_equal(picture_queue_state(&queue).dropped, 7);
  assert_true(picture_queue_state(&queue).bytes <= 3 * PICTURE_COST(1000));
  for (uint32_t frame = 7; frame < 10; frame++)
    assert_int_equal(pop_number(&queue), frame);
  uint32_t dropped = 0;
  assert_null(picture_queue_pop(&queue, &dropped));
  assert_int_equal(dropped, 7);
  picture_queue_destroy(&queue);
}

static void keep_sent(picture_queue_t *queue, uint64_t sent_end) {
  uint32_t dropped;
  picture_queue_keep_sent(queue, picture_queue_pop(queue, &dropped), sent_end);
}

static void pictures_that_were_sent_and_did_not_arrive_come_back_in_their_order(void **state) {
  (void)state;
  picture_queue_t queue;
  picture_queue_init(&queue, 10 * PICTURE_COST(1000));
  for (uint32_t frame = 0; frame < 6; frame++)
    picture_queue_push(&queue, picture_numbered(frame, 1000, true));
  for (uint64_t sent = 1; sent <= 4; sent++)
    keep_sent(&queue, sent * 1000);
  assert_int_equal(picture_queue_state(&queue).count, 2);
  picture_queue_arrived(&queue, 2999); /* the third has all but its last byte */
  picture_queue_take_back(&queue);
  assert_int_equal(picture_queue_state(&queue).count, 4);
  assert_true(picture_queue_state(&queue).bytes == 4 * PICTURE_COST(1000));
  for (uint32_t frame = 2; frame < 6; frame++)
    assert_int_equal(pop_number(&queue), frame);
  assert_int_equal(picture_queue_state(&queue).dropped, 0);
  picture_queue_push(&queue, picture_numbered(6, 1000, true));
  keep_sent(&queue, 1);
  picture_queue_take_back(&queue); /* into an empty queue, and the next one behind it */
  picture_queue_push(&queue, picture_numbered(7, 1000, true));
  assert_int_equal(pop_number(&queue), 6);
  assert_int_equal(pop_number(&queue), 7);
  picture_queue_push(&queue, picture_numbered(8, 1000, true));
  keep_sent(&queue, 1);
  picture_queue_destroy(&queue);
}

static void a_picture_larger_than_the_whole_queue_is_dropped_and_counted(void **state) {
  (void)state;
  picture_queue_t queue;
  picture_queue_init(&queue, 500);
  picture_queue_push(&queue, picture_numbered(0, 1000, true));
  assert_int_equal(picture_queue_state(&queue).dropped, 1);
  assert_int_equal(picture_queue_state(&queue).bytes, 0);
  picture_queue_push(&queue, picture_numbered(1, 100, true));
  assert_int_equal(pop_number(&queue), 1);
  picture_queue_destroy(&queue);
}

/* Key pictures at 0, 4 and 8; room for six: when 6 comes, all of the first group has to go. */
static void what_is_left_of_a_full_queue_always_begins_with_a_key_picture(void **state) {
  (void)state;
  picture_queue_t queue;
  picture_queue_init(&queue, 6 * PICTURE_COST(1000));
  for (uint32_t frame = 0; frame < 7; frame++) {
    picture_queue_push(&queue, picture_numbered(frame, 1000, frame % 4 == 0));
  }
  assert_int_equal(picture_queue_state(&queue).dropped, 4);
  assert_int_equal(pop_number(&queue), 4);
  picture_queue_destroy(&queue);
}

static void pictures_without_their_key_picture_are_dropped_until_the_next_one_comes(void **state) {
  (void)state;
  picture_queue_t queue;
  picture_queue_init(&queue, 2 * PICTURE_COST(1000));
  for (uint32_t frame = 0; frame < 6; frame++)
    picture_queue_push(&queue, picture_numbered(frame, 1000, frame == 0));
  assert_int_equal(picture_queue_state(&queue).bytes, 0);
  assert_int_equal(picture_queue_state(&queue).dropped, 6);
  assert_true(picture_queue_state(&queue).wants_key);
  picture_queue_push(&queue, picture_numbered(6, 1000, true));
  picture_queue_push(&queue, picture_numbered(7, 1000, false));
  assert_int_equal(pop_number(&queue), 6);
  assert_int_equal(pop_number(&queue), 7);
  picture_queue_destroy(&queue);
}

static void a_picture_must_have_bytes_and_fit_the_wire(void **state) {
  (void)state;
  uint8_t byte = 0;
  assert_null(picture_new(&byte, 0));
  assert_null(picture_new(&byte, PICTURE_BYTES_MAX + 1));
}

static picture_t *encode(raw_kind_t kind, uint32_t width, uint32_t height, bool limited, const uint8_t *pixel) {
  size_t pixel_bytes = kind == RAW_YUYV ? 2 : 1, size = pixel_bytes * width * height;
  uint8_t *raw = malloc(size);
  for (size_t i = 0; i < size; i++)
    raw[i] = pixel[kind == RAW_YUYV ? i % 4 : 0];
  raw_format_t format = {kind, width, height, pixel_bytes * width, limited, 95};
  picture_t *picture = jpeg_encode(&format, raw, size);
  free(raw);
  return picture;
}

/* The last pixel of the picture, after a decoder's colour conversion. */
static void decode_corner(const picture_t *picture, uint8_t rgb[3]) {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr error;
  jpeg.err = jpeg_std_error(&error);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, picture->data, picture->size);
  jpeg_read_header(&jpeg, TRUE);
  jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&jpeg);
  assert_int_equal(jpeg.output_width, picture->width);
  assert_int_equal(jpeg.output_height, picture->height);
  uint8_t *row = malloc((size_t)jpeg.output_width * 3);
  while (jpeg.output_scanline < jpeg.output_height)
    jpeg_read_scanlines(&jpeg, &row, 1);
  memcpy(rgb, row + (jpeg.output_width - 1) * 3, 3);
  free(row);
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
  assert_int_equal(error.num_warnings, 0);
}

static void assert_near(const uint8_t got[3], int red, int green, int blue) {
  int wanted[3] = {red, green, blue};
  for (int i = 0; i < 3; i++)
    assert_true(abs(got[i] - wanted[i]) <= 3);
}

/* ITU-R BT.601, limited range: red is Y 81, Cb 90, Cr 240. */
static void raw_colours_of_limited_range_come_out_as_they_went_in(void **state) {
  (void)state;
  const uint8_t red[] = {81, 90, 81, 240}, white[] = {235, 128, 235, 128}, black[] = {16, 128, 16, 128};
  const uint32_t widths[] = {2, 18, 64};
  uint8_t rgb[3];
  for (size_t i = 0; i < 3; i++) {
    picture_t *picture = encode(RAW_YUYV, widths[i], 9, true, red);
    decode_corner(picture, rgb);
    assert_near(rgb, 255, 0, 0);
    free(picture);
  }
  picture_t *picture = encode(RAW_YUYV, 32, 32, true, white);
  decode_corner(picture, rgb);
  assert_near(rgb, 255, 255, 255);
  free(picture);
  picture = encode(RAW_YUYV, 32, 32, true, black);
  decode_corner(picture, rgb);
  assert_near(rgb, 0, 0, 0);
  free(picture);
}

static void raw_greys_of_full_range_stay_as_they_are(void **state) {
  (void)state;
  const uint8_t grey[] = {16};
  uint8_t rgb[3];
  picture_t *picture = encode(RAW_GREY, 17, 5, false, grey);
  decode_corner(picture, rgb);
  assert_near(rgb, 16, 16, 16);
  free(picture);
}

static void a_raw_picture_that_is_too_short_is_no_picture(void **state) {
  (void)state;
  uint8_t raw[2 * 16 * 16] = {0};
  raw_format_t format = {RAW_YUYV, 16, 16, 32, true, 85};
  picture_t *whole = jpeg_encode(&format, raw, sizeof raw);
  assert_non_null(whole);
  free(whole);
  assert_null(jpeg_encode(&format, raw, sizeof raw - 1));
  format.stride = 30;
  assert_null(jpeg_encode(&format, raw, sizeof raw));
  format = (raw_format_t){RAW_YUYV, 15, 16, 32, true, 85};
  assert_null(jpeg_encode(&format, raw, sizeof raw));
}

static picture_t *some_jpeg(void) {
  const uint8_t pixel[] = {81, 90, 120, 240};
  return encode(RAW_YUYV, 48, 32, true, pixel);
}

/* Copied to where nothing follows, so that a sanitizer sees a read beyond the end. */
static bool scans(const uint8_t *data, size_t size, jpeg_extent_t *extent) {
  uint8_t *exact = malloc(size + (size == 0));
  memcpy(exact, data, size);
  bool whole = jpeg_scan(exact, size, extent);
  free(exact);
  return whole;
}

static void a_jpeg_cut_anywhere_is_not_whole(void **state) {
  (void)state;
  picture_t *picture = some_jpeg();
  jpeg_extent_t extent;
  for (size_t size = 0; size < picture->size; size++)
    assert_false(scans(picture->data, size, &extent));
  assert_true(scans(picture->data, picture->size, &extent));
  assert_int_equal(extent.size, picture->size);
  assert_int_equal(extent.width, 48);
  assert_int_equal(extent.height, 32);
  free(picture);
}

static void what_follows_a_jpeg_is_not_part_of_it(void **state) {
  (void)state;
  picture_t *picture = some_jpeg();
  uint8_t *padded = calloc(1, picture->size + 100);
  memcpy(padded, picture->data, picture->size);
  jpeg_extent_t extent;
  assert_true(scans(padded, picture->size + 100, &extent));
  assert_int_equal(extent.size, picture->size);
  free(padded);
  free(picture);
}

/* A JPEG in an application segment: its end marker is not the outer picture's. */
static void a_thumbnail_does_not_end_the_picture(void **state) {
  (void)state;
  picture_t *picture = some_jpeg();
  size_t thumbnail = picture->size, size = 2 + 4 + thumbnail + picture->size - 2;
  uint8_t *bytes = malloc(size);
  memcpy(bytes, picture->data, 2);
  const uint8_t segment[] = {0xff, 0xe1, (uint8_t)((thumbnail + 2) >> 8), (uint8_t)(thumbnail + 2)};
  memcpy(bytes + 2, segment, 4);
  memcpy(bytes + 6, picture->data, thumbnail);
  memcpy(bytes + 6 + thumbnail, picture->data + 2, picture->size - 2);
  jpeg_extent_t extent;
  assert_true(scans(bytes, size, &extent));
  assert_int_equal(extent.size, size);
  free(bytes);
  free(picture);
}

static uint32_t random_number(uint32_t *seed) {
  return *seed = *seed * 1664525u + 1013904223u;
}

static void no_damage_to_a_jpeg_makes_the_scan_read_beyond_it(void **state) {
  (void)state;
  picture_t *picture = some_jpeg();
  uint8_t *spoiled = malloc(picture->size);
  uint32_t seed = 1;
  for (int round = 0; round < 20000; round++) {
    memcpy(spoiled, picture->data, picture->size);
    for (int i = 0; i < 3; i++) {
      spoiled[random_number(&seed) / 7 % picture->size] = (uint8_t)(random_number(&seed) >> 24);
    }
    jpeg_extent_t extent;
    if (scans(spoiled, picture->size, &extent))
      assert_true(extent.size <= picture->size);
  }
  free(spoiled);
  free(picture);
}

static void h264_units_that_begin_a_decoding_are_known(void **state) {
  (void)state;
  const uint8_t key[] = {0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 9};
  const uint8_t other[] = {0, 0, 0, 1, 0x09, 0x30, 0, 0, 1, 0x41, 9};
  assert_true(h264_is_annex_b(key, sizeof key));
  assert_true(h264_is_key(key, sizeof key));
  assert_false(h264_is_key(other, sizeof other));
  assert_false(h264_is_annex_b(other + 1, 4));
  for (size_t size = 0; size < 17; size++)
    assert_false(h264_is_key(key, size));
}

static imu_queue_t samples;

static void push_at(uint64_t t_ns) {
  imu_sample_t sample = {.t_ns = t_ns, .gyro = {(int16_t)(t_ns / 1000000), 2, -3}, .accel = {4, -5, 6}};
  imu_queue_push(&samples, &sample);
}

static void samples_leave_in_batches_with_their_measured_period(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  for (uint64_t i = 1; i <= 20; i++)
    push_at(i * 1010000); /* one per cent slow */
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.count, 20);
  assert_int_equal(batch.first_t_ns, 1010000);
  assert_int_equal(batch.period_ns, 1010000);
  assert_int_equal(batch.gyro[3], 2);
  assert_int_equal(batch.accel[1], -5);
  assert_false(imu_queue_pop(&samples, &batch));
  assert_int_equal(samples.lost, 0);
}

static void a_hole_between_samples_is_counted_and_begins_a_new_batch(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  for (uint64_t i = 1; i <= 5; i++)
    push_at(i * 1000000);
  for (uint64_t i = 9; i <= 10; i++)
    push_at(i * 1000000); /* 6, 7 and 8 are missing */
  imu_queue_flush(&samples, UINT64_MAX);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.count, 5);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.first_t_ns, 9000000);
  assert_int_equal(batch.count, 2);
  assert_int_equal(samples.lost, 3);
}

static void a_pause_that_was_meant_is_no_loss(void **state) {
  (void)state;
  imu_queue_init(&samples, 1000.0);
  push_at(1000000);
  imu_queue_restart(&samples);
  push_at(900000000);
  assert_int_equal(samples.lost, 0);
}

static void a_clock_that_runs_back_loses_nothing_and_never_shares_a_batch(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  push_at(5000000);
  push_at(4000000);
  imu_queue_flush(&samples, UINT64_MAX);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.count, 1);
  assert_int_equal(batch.period_ns, 1000000);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(samples.lost, 0);
}

static void samples_that_were_sent_and_did_not_arrive_come_back_in_their_order(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  for (uint64_t i = 1; i <= 4 * IMU_BATCH; i++)
    push_at(i * 1000000);
  for (uint64_t sent = 1; sent <= 3; sent++) {
    assert_true(imu_queue_pop(&samples, &batch));
    imu_queue_keep_sent(&samples, sent * 100);
  }
  imu_queue_arrived(&samples, 100);
  imu_queue_take_back(&samples);
  for (uint64_t number = 1; number < 4; number++) {
    assert_true(imu_queue_pop(&samples, &batch));
    assert_int_equal(batch.first_t_ns, (number * IMU_BATCH + 1) * 1000000);
  }
  assert_false(imu_queue_pop(&samples, &batch));
  assert_int_equal(samples.lost, 0);
}

static void samples_that_were_sent_make_room_without_being_lost(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  for (uint64_t i = 1; i <= IMU_BATCHES * IMU_BATCH; i++)
    push_at(i * 1000000);
  assert_true(imu_queue_pop(&samples, &batch));
  imu_queue_keep_sent(&samples, 100);
  for (uint64_t i = 1; i <= IMU_BATCH; i++)
    push_at((IMU_BATCHES * IMU_BATCH + i) * 1000000);
  assert_int_equal(samples.lost, 0);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.first_t_ns, (IMU_BATCH + 1) * 1000000);
}

static void a_full_queue_drops_the_oldest_samples_and_counts_each(void **state) {
  (void)state;
  imu_batch_t batch;
  imu_queue_init(&samples, 1000.0);
  for (uint64_t i = 1; i <= (IMU_BATCHES + 2) * IMU_BATCH; i++)
    push_at(i * 1000000);
  assert_int_equal(samples.lost, 2 * IMU_BATCH);
  assert_true(imu_queue_pop(&samples, &batch));
  assert_int_equal(batch.first_t_ns, (2 * IMU_BATCH + 1) * 1000000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_full_queue_drops_the_oldest_pictures_and_counts_them),
      cmocka_unit_test(pictures_that_were_sent_and_did_not_arrive_come_back_in_their_order),
      cmocka_unit_test(a_picture_larger_than_the_whole_queue_is_dropped_and_counted),
      cmocka_unit_test(what_is_left_of_a_full_queue_always_begins_with_a_key_picture),
      cmocka_unit_test(pictures_without_their_key_picture_are_dropped_until_the_next_one_comes),
      cmocka_unit_test(a_picture_must_have_bytes_and_fit_the_wire),
      cmocka_unit_test(raw_colours_of_limited_range_come_out_as_they_went_in),
      cmocka_unit_test(raw_greys_of_full_range_stay_as_they_are),
      cmocka_unit_test(a_raw_picture_that_is_too_short_is_no_picture),
      cmocka_unit_test(a_jpeg_cut_anywhere_is_not_whole),
      cmocka_unit_test(what_follows_a_jpeg_is_not_part_of_it),
      cmocka_unit_test(a_thumbnail_does_not_end_the_picture),
      cmocka_unit_test(no_damage_to_a_jpeg_makes_the_scan_read_beyond_it),
      cmocka_unit_test(h264_units_that_begin_a_decoding_are_known),
      cmocka_unit_test(samples_leave_in_batches_with_their_measured_period),
      cmocka_unit_test(a_hole_between_samples_is_counted_and_begins_a_new_batch),
      cmocka_unit_test(a_pause_that_was_meant_is_no_loss),
      cmocka_unit_test(a_clock_that_runs_back_loses_nothing_and_never_shares_a_batch),
      cmocka_unit_test(samples_that_were_sent_and_did_not_arrive_come_back_in_their_order),
      cmocka_unit_test(samples_that_were_sent_make_room_without_being_lost),
      cmocka_unit_test(a_full_queue_drops_the_oldest_samples_and_counts_each),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
