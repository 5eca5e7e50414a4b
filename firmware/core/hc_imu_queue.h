/* Inertial samples on their way from the driver to batches. */
#ifndef HC_IMU_QUEUE_H
#define HC_IMU_QUEUE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HC_IMU_QUEUE 512U /* power of two: half a second at 1 kHz */
#define HC_IMU_BATCH 20U
#define HC_IMU_BATCH_AGE_NS 100000000U /* a slow sensor's samples do not wait for a full batch */

typedef struct {
  int16_t gyro[3];
  int16_t accel[3];
} hc_imu_sample_t;

typedef struct {
  hc_imu_sample_t sample[HC_IMU_QUEUE];
  uint64_t t_ns[HC_IMU_QUEUE];
  uint32_t written, read; /* count up for ever */
  uint32_t lost;          /* for want of room */
} hc_imu_queue_t;

void hc_imu_put(hc_imu_queue_t *queue, uint64_t t_ns, const hc_imu_sample_t *sample);

/* How many of the oldest samples make a batch now, 0 when it is not time yet. A batch has one period: it ends before a
 * gap. `period_ns` is what the driver measured. */
size_t hc_imu_batch_len(const hc_imu_queue_t *queue, uint64_t now_ns, uint32_t period_ns);

/* Sample `i` of those that wait, the oldest being 0. */
const hc_imu_sample_t *hc_imu_peek(const hc_imu_queue_t *queue, size_t i, uint64_t *t_ns);

void hc_imu_drop(hc_imu_queue_t *queue, size_t count);

#endif
