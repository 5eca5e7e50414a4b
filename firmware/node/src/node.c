#include "node.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "clock.h"
#include "host.h"
#include "messages.h"
#include "sensors.h"

#define STATUS_PERIOD_NS NS_PER_S
#define LOSSES_PERIOD_NS (100 * NS_PER_MS) /* not a flood of Status where something is lost all the time */

static void tend_status(node_t *node, uint64_t now_ns) {
  node_losses_t now = node_losses(node);
  bool moved = memcmp(&now, &node->told, sizeof now) != 0;
  if (now_ns - node->status_t_ns < STATUS_PERIOD_NS && !(moved && now_ns - node->losses_t_ns >= LOSSES_PERIOD_NS)) {
    return;
  }
  if (now.pictures_damaged != node->damaged_told) {
    node->damaged_told = now.pictures_damaged;
    node_say(node, handcap_Log_Level_LEVEL_WARNING,
             "camera: %u pictures came damaged since the start and were not sent", now.pictures_damaged);
  }
  node->told = now;
  if (now_ns - node->status_t_ns >= STATUS_PERIOD_NS) {
    node->status_t_ns = now_ns;
  }
  node->losses_t_ns = now_ns;
  node->status_wanted = true;
}

enum { SIGNALS, ARRIVALS, NEWS, INERTIAL, HOST, WAITED_FOR };

/* How long nothing needs doing by the clock. */
static int patience_ms(const node_t *node, uint64_t now_ns) {
  if (node->imu_running && node->samples->filling.count > 0) {
    return 50;
  }
  uint64_t due = node->status_t_ns + STATUS_PERIOD_NS;
  return due <= now_ns ? 0 : (int)((due - now_ns) / NS_PER_MS) + 1;
}

static void prepare(const node_t *node, struct pollfd *waiting) {
  bool host = node->link->fd >= 0;
  short heard = host_room_for_bytes(node) > 0 ? POLLIN : 0,
        spoken = host && host_has_something_to_hear(node) ? POLLOUT : 0;
  waiting[SIGNALS] = (struct pollfd){.fd = node->signal_fd, .events = POLLIN};
  waiting[ARRIVALS] = (struct pollfd){.fd = node->link->listen_fd, .events = POLLIN};
  waiting[NEWS] = (struct pollfd){.fd = node->camera->news_fd, .events = POLLIN};
  waiting[INERTIAL] = (struct pollfd){.fd = node->imu_running ? node->iio->fd : -1, .events = POLLIN};
  waiting[HOST] = (struct pollfd){.fd = host ? node->link->fd : -1, .events = (short)(heard | spoken | POLLRDHUP)};
}

/* All that one turn of the loop does but wait. */
static void attend(node_t *node, const struct pollfd *waiting, uint64_t now_ns) {
  host_hear(node, waiting[HOST].revents, now_ns);
  if (waiting[ARRIVALS].revents != 0) {
    host_give_way(node, now_ns);
    if (link_accept(node->link)) {
      host_greet(node, now_ns);
    }
  }
  if (waiting[INERTIAL].revents != 0) {
    sensors_hear_imu(node, waiting[INERTIAL].revents, now_ns);
  }
  if (waiting[NEWS].revents != 0) {
    sensors_hear_camera(node);
  }
  sensors_tend_imu(node, now_ns);
  tend_status(node, now_ns);
  if (node->link->fd >= 0) {
    host_speak(node);
  }
}

void node_run(node_t *node) {
  struct pollfd waiting[WAITED_FOR];
  node->status_t_ns = node->losses_t_ns = clock_now_ns();
  for (;;) {
    prepare(node, waiting);
    if (poll(waiting, WAITED_FOR, patience_ms(node, clock_now_ns())) < 0 && errno != EINTR) {
      return;
    }
    uint64_t now_ns = clock_now_ns(); /* t2 of a request that this turn reads */
    if (waiting[SIGNALS].revents != 0) {
      return;
    }
    attend(node, waiting, now_ns);
    uint64_t turn_us = (clock_now_ns() - now_ns) / 1000;
    if (turn_us > node->loop_late_us_max) {
      node->loop_late_us_max = (uint32_t)turn_us;
    }
  }
}
