/* The camera node: what it says and does, in one loop. */
#ifndef HC_NODE_NODE_H
#define HC_NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "camera.h"
#include "iio.h"
#include "link.h"

#define NODE_REPLIES 16
#define NODE_COMMANDS_REMEMBERED 8

typedef struct {
  const char *camera_name; /* head, left, ... */
  const char *source_model;
  double source_rate_hz;
  uint64_t uid;
} node_identity_t;

/* Answers and words that wait for the line. */
typedef struct {
  pb_size_t which; /* sync_response, ack or log */
  union {
    handcap_SyncResponse sync;
    handcap_Ack ack;
    handcap_Log log;
  } body;
} node_reply_t;

/* Everything that is lost, as Status last told it. */
typedef struct {
  uint32_t imu_lost, pictures_dropped, pictures_damaged, bad_crc, bad_frame, too_long, imu_stuck;
} node_losses_t;

typedef struct {
  node_identity_t identity;
  link_t *link;
  camera_t *camera;
  picture_queue_t *pictures;
  iio_t *iio; /* null without one */
  imu_queue_t *samples;
  int signal_fd;

  uint32_t boot_id, seq;
  bool streaming, hello_wanted, status_wanted;
  handcap_Ack done[NODE_COMMANDS_REMEMBERED]; /* by this host; id 0 is an empty place */
  uint32_t done_next;
  node_reply_t replies[NODE_REPLIES];
  uint32_t replies_read, replies_written;
  uint32_t rx_not_a_message;

  pb_size_t on_the_way; /* which body the line is busy with; 0 is none */
  picture_t *picture;   /* popped, on its way */
  uint32_t picture_dropped; /* as counted when it was popped */
  imu_batch_t batch;    /* a copy */
  bool has_batch;

  bool imu_running;
  uint32_t imu_stuck;
  uint64_t imu_heard_t_ns, imu_retry_t_ns;
  uint64_t heard_t_ns; /* when the host last said something, and what was dropped until then */
  uint32_t heard_dropped;
  bool had_host;
  camera_state_t camera_told;
  node_losses_t told;
  uint32_t damaged_told;
  uint64_t status_t_ns, losses_t_ns;
  uint32_t loop_late_us_max;
} node_t;

/* Until a signal says stop. */
void node_run(node_t *node);

#endif
