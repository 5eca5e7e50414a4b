#include "imu.h"

#include <string.h>

void imu_queue_init(imu_queue_t *queue, double rate_hz) {
  memset(queue, 0, sizeof *queue);
  if (rate_hz > 0.0) {
    queue->nominal_period_ns = (uint64_t)(1e9 / rate_hz);
  }
}

static void close_batch(imu_queue_t *queue) {
  imu_batch_t *batch = &queue->filling;
  if (batch->count == 0) {
    return;
  }
  uint64_t span = queue->last_t_ns - batch->first_t_ns;
  batch->period_ns = (uint32_t)(batch->count > 1 ? span / (batch->count - 1) : queue->nominal_period_ns);
  if (queue->written - queue->read == IMU_BATCHES) {
    if (queue->sent == queue->read) {
      queue->lost += queue->ready[queue->read % IMU_BATCHES].count;
      queue->sent++;
    }
    queue->read++;
  }
  queue->ready[queue->written++ % IMU_BATCHES] = *batch;
  batch->count = 0;
}

/* The batch has one period for all its samples: a hole, or a clock that jumped, begins a new one. */
static void notice_hole(imu_queue_t *queue, uint64_t t_ns) {
  if (queue->last_t_ns == 0) {
    return;
  }
  if (t_ns <= queue->last_t_ns) {
    close_batch(queue);
    return;
  }
  uint64_t period = queue->nominal_period_ns, step = t_ns - queue->last_t_ns;
  if (period == 0 || 2 * step < 3 * period) {
    return;
  }
  queue->lost += (uint32_t)((step + period / 2) / period - 1);
  close_batch(queue);
}

void imu_queue_restart(imu_queue_t *queue) {
  close_batch(queue);
  queue->last_t_ns = 0;
}

void imu_queue_push(imu_queue_t *queue, const imu_sample_t *sample) {
  notice_hole(queue, sample->t_ns);
  imu_batch_t *batch = &queue->filling;
  if (batch->count == 0) {
    batch->first_t_ns = sample->t_ns;
  }
  memcpy(&batch->gyro[3 * (size_t)batch->count], sample->gyro, sizeof sample->gyro);
  memcpy(&batch->accel[3 * (size_t)batch->count], sample->accel, sizeof sample->accel);
  batch->count++;
  queue->last_t_ns = sample->t_ns;
  if (batch->count == IMU_BATCH) {
    close_batch(queue);
  }
}

void imu_queue_flush(imu_queue_t *queue, uint64_t t_ns) {
  if (queue->filling.count > 0 && queue->filling.first_t_ns < t_ns) {
    close_batch(queue);
  }
}

bool imu_queue_pop(imu_queue_t *queue, imu_batch_t *batch) {
  if (queue->sent == queue->written) {
    return false;
  }
  queue->sent_end[queue->sent % IMU_BATCHES] = UINT64_MAX;
  *batch = queue->ready[queue->sent++ % IMU_BATCHES];
  return true;
}

void imu_queue_keep_sent(imu_queue_t *queue, uint64_t sent_end) {
  queue->sent_end[(queue->sent - 1) % IMU_BATCHES] = sent_end;
}

void imu_queue_arrived(imu_queue_t *queue, uint64_t bytes) {
  while (queue->read != queue->sent && queue->sent_end[queue->read % IMU_BATCHES] <= bytes) {
    queue->read++;
  }
}

void imu_queue_take_back(imu_queue_t *queue) {
  queue->sent = queue->read;
}
