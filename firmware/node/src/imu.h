/* Inertial samples on their way from the sensor to the wire: batches of up to 20, bounded, oldest dropped. What was
 * sent is kept until the host's kernel has it. */
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
  uint64_t sent_end[IMU_BATCHES]; /* of the link's bytes, where a batch's message ended */
  /* Count up; the place is the remainder. Up to `read` nobody needs them any more, up to `sent` they were popped. */
  uint32_t read, sent, written;
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

/* The batch popped last has gone out and ended with this byte of the link. */
void imu_queue_keep_sent(imu_queue_t *queue, uint64_t sent_end);

/* So many bytes of the link have arrived. */
void imu_queue_arrived(imu_queue_t *queue, uint64_t bytes);

/* The link is lost: what did not arrive is to be popped again. */
void imu_queue_take_back(imu_queue_t *queue);

#endif
