#include "hc_imu_queue.h"

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static uint32_t waiting(const hc_imu_queue_t *queue) {
  return queue->written - queue->read;
}

void hc_imu_put(hc_imu_queue_t *queue, uint64_t t_ns, const hc_imu_sample_t *sample) {
  if (waiting(queue) >= HC_IMU_QUEUE) {
    queue->lost++;
    return;
  }
  queue->sample[queue->written % HC_IMU_QUEUE] = *sample;
  queue->t_ns[queue->written % HC_IMU_QUEUE] = t_ns;
  queue->written++;
}

const hc_imu_sample_t *hc_imu_peek(const hc_imu_queue_t *queue, size_t i, uint64_t *t_ns) {
  uint32_t at = (queue->read + (uint32_t)i) % HC_IMU_QUEUE;
  *t_ns = queue->t_ns[at];
  return &queue->sample[at];
}

size_t hc_imu_batch_len(const hc_imu_queue_t *queue, uint64_t now_ns, uint32_t period_ns) {
  uint32_t held = waiting(queue);
  if (held == 0) {
    return 0;
  }
  uint64_t previous_t_ns;
  (void)hc_imu_peek(queue, 0, &previous_t_ns);
  if (held < HC_IMU_BATCH && now_ns - previous_t_ns < HC_IMU_BATCH_AGE_NS) {
    return 0;
  }
  uint32_t most = least(held, HC_IMU_BATCH);
  for (uint32_t i = 1; i < most; i++) {
    uint64_t t_ns;
    (void)hc_imu_peek(queue, i, &t_ns);
    /* Half a period either way is a lost sample or another rate. */
    if (t_ns - previous_t_ns > period_ns + period_ns / 2U || t_ns - previous_t_ns < period_ns / 2U) {
      return i;
    }
    previous_t_ns = t_ns;
  }
  return most;
}

void hc_imu_drop(hc_imu_queue_t *queue, size_t count) {
  queue->read += (uint32_t)count;
}
