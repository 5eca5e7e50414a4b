/* Inertial samples on their way from the sensor to the wire: batches of up to 20, bounded, oldest dropped. */
#ifndef HC_NODE_IMU_H
#define HC_NODE_IMU_H

#include <stdbool.h>
#include <stdint.h>

#define IMU_BATCH 20
#define IMU_BATCHES 4096 /* 1.1 MiB: 80 s at 1 kHz without a reader */

typedef struct {
  uint64_t t_ns; /* CLOCK_MONOTONIC */
  int16_t gyro[3], accel[3];
} imu_sample_t;

typedef struct {
  uint64_t first_t_ns;
  uint32_t period_ns;
  uint32_t count;
  int16_t gyro[3 * IMU_BATCH], accel[3 * IMU_BATCH];
} imu_batch_t;

typedef struct {
  uint64_t nominal_period_ns; /* as set; 0 where the sensor does not say */
  uint64_t last_t_ns;         /* of the batch's last sample */
  imu_batch_t filling;
  imu_batch_t ready[IMU_BATCHES];
  uint32_t read, written; /* count up; the place is the remainder */
  uint32_t lost;          /* missing between two samples, and dropped for want of room; since the start */
} imu_queue_t;

/* `rate_hz` as set, 0 where unknown. */
void imu_queue_init(imu_queue_t *queue, double rate_hz);

/* After a pause that was meant: the next sample's distance to the last is no loss. */
void imu_queue_restart(imu_queue_t *queue);

void imu_queue_push(imu_queue_t *queue, const imu_sample_t *sample);

/* Close a batch that has waited since before `t_ns`. */
void imu_queue_flush(imu_queue_t *queue, uint64_t t_ns);

bool imu_queue_pop(imu_queue_t *queue, imu_batch_t *batch);

#endif
