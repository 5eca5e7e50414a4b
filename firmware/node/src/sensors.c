#include "sensors.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "messages.h"

#define IMU_BATCH_PATIENCE_NS (50 * NS_PER_MS)
#define IMU_RETRY_NS NS_PER_S

void sensors_hear_camera(node_t *node) {
  uint64_t count;
  if (read(node->camera->news_fd, &count, sizeof count) < 0) {
    return;
  }
  camera_view_t view = camera_view(node->camera);
  if (view.state == node->camera_told) {
    return;
  }
  node->camera_told = view.state;
  node->status_wanted = true;
  switch (view.state) {
    case CAMERA_ABSENT:
      node_say(node, handcap_Log_Level_LEVEL_ERROR, "camera: %s; trying again every second", view.problem);
      break;
    case CAMERA_ENDED:
      node_say(node, handcap_Log_Level_LEVEL_INFO, "the file source is at its end");
      break;
    case CAMERA_RUNNING:
      node_say(node, handcap_Log_Level_LEVEL_INFO, "camera: running");
      break;
    case CAMERA_STOPPED:
      node_say(node, handcap_Log_Level_LEVEL_INFO, "camera: stopped");
      break;
  }
}

static void stop_imu(node_t *node) {
  iio_stop(node->iio);
  node->imu_running = false;
  imu_queue_restart(node->samples);
}

static void imu_failed(node_t *node, uint64_t now_ns) {
  stop_imu(node);
  node->imu_retry_t_ns = now_ns + IMU_RETRY_NS;
  node_say(node, handcap_Log_Level_LEVEL_ERROR, "inertial sensor: %s; trying again every second", node->iio->problem);
}

void sensors_tend_imu(node_t *node, uint64_t now_ns) {
  if (node->iio == NULL) {
    return;
  }
  if (!node->streaming) {
    if (node->imu_running) {
      stop_imu(node);
    }
    return;
  }
  if (!node->imu_running) {
    if (now_ns < node->imu_retry_t_ns) {
      return;
    }
    node->imu_running = iio_start(node->iio);
    node->imu_heard_t_ns = now_ns;
    if (!node->imu_running) {
      imu_failed(node, now_ns);
    }
  } else if (now_ns - node->imu_heard_t_ns > IMU_RETRY_NS) {
    node->imu_stuck++;
    snprintf(node->iio->problem, sizeof node->iio->problem, "%s gives no samples", node->iio->model);
    imu_failed(node, now_ns);
  }
  imu_queue_flush(node->samples, now_ns - IMU_BATCH_PATIENCE_NS);
}

void sensors_hear_imu(node_t *node, short events, uint64_t now_ns) {
  if (events & POLLIN) {
    node->imu_heard_t_ns = now_ns;
    if (!iio_read(node->iio, node->samples)) {
      imu_failed(node, now_ns);
    }
  } else if (events & (POLLERR | POLLHUP | POLLNVAL)) {
    snprintf(node->iio->problem, sizeof node->iio->problem, "%s is gone", node->iio->model);
    imu_failed(node, now_ns);
  }
}
