#include "messages.h"

#include <math.h>
#include <pb_encode.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "version.h"

#define SMALL_MESSAGE_MAX 1016 /* anything but a picture, encoded */
#define PICTURE_HEAD_MAX 256   /* of a picture's message, all but its bytes */

void node_say(node_t *node, handcap_Log_Level level, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "handcap-node: %s\n", text);
  /* Answers need the room more: half of it is for words at most, and these stand on stderr too. */
  if (node->link->fd < 0 || node->replies_written - node->replies_read >= NODE_REPLIES / 2) {
    return;
  }
  node_reply_t *reply = &node->replies[node->replies_written++ % NODE_REPLIES];
  *reply = (node_reply_t){.which = handcap_Envelope_log_tag};
  reply->body.log.level = level;
  memcpy(reply->body.log.text, text, sizeof reply->body.log.text);
}

static handcap_SensorState camera_sensor_state(node_t *node) {
  switch (camera_view(node->camera).state) {
    case CAMERA_RUNNING:
      return handcap_SensorState_SENSOR_STATE_RUNNING;
    case CAMERA_ABSENT:
      return handcap_SensorState_SENSOR_STATE_ABSENT;
    case CAMERA_STOPPED:
    case CAMERA_ENDED:
      break;
  }
  return handcap_SensorState_SENSOR_STATE_STOPPED;
}

static handcap_SensorState imu_sensor_state(const node_t *node) {
  if (node->imu_running) {
    return handcap_SensorState_SENSOR_STATE_RUNNING;
  }
  if (!node->streaming) {
    return handcap_SensorState_SENSOR_STATE_STOPPED;
  }
  return node->imu_stuck > 0 ? handcap_SensorState_SENSOR_STATE_STUCK : handcap_SensorState_SENSOR_STATE_ABSENT;
}

static pb_size_t fill_sensors(node_t *node, handcap_Sensor *sensors, bool troubled_only) {
  handcap_Sensor all[2] = {handcap_Sensor_init_zero, handcap_Sensor_init_zero};
  pb_size_t known = 1, count = 0;
  all[0].kind = handcap_SensorKind_SENSOR_KIND_CAMERA;
  all[0].state = camera_sensor_state(node);
  all[0].rate_hz = node->identity.source_rate_hz;
  snprintf(all[0].model, sizeof all[0].model, "%s", node->identity.source_model);
  if (node->iio != NULL) {
    all[1].kind = handcap_SensorKind_SENSOR_KIND_IMU;
    all[1].state = imu_sensor_state(node);
    all[1].rate_hz = node->iio->rate_hz;
    all[1].gyro_range_rad_s = node->iio->gyro_scale * 32768.0;
    all[1].accel_range_m_s2 = node->iio->accel_scale * 32768.0;
    snprintf(all[1].model, sizeof all[1].model, "%s", node->iio->model);
    known = 2;
  }
  for (pb_size_t i = 0; i < known; i++) {
    bool well = all[i].state == handcap_SensorState_SENSOR_STATE_RUNNING ||
                all[i].state == handcap_SensorState_SENSOR_STATE_STOPPED;
    if (!well || !troubled_only) {
      sensors[count++] = all[i];
    }
  }
  return count;
}

node_losses_t node_losses(node_t *node) {
  const hc_deframer_t *deframer = &node->link->deframer;
  return (node_losses_t){.imu_lost = node->iio == NULL ? 0 : node->samples->lost,
                         .pictures_dropped = picture_queue_state(node->pictures).dropped,
                         .pictures_damaged = camera_view(node->camera).damaged,
                         .bad_crc = deframer->bad_crc,
                         .bad_frame = deframer->bad_frame + node->rx_not_a_message,
                         .too_long = deframer->too_long,
                         .imu_stuck = node->imu_stuck};
}

static void fill_hello(node_t *node, handcap_Hello *hello) {
  hello->protocol_version = handcap_ProtocolVersion_PROTOCOL_VERSION_CURRENT;
  snprintf(hello->board, sizeof hello->board, "node");
  hello->uid = node->identity.uid;
  snprintf(hello->firmware_version, sizeof hello->firmware_version, "%s", HC_VERSION);
  snprintf(hello->git_hash, sizeof hello->git_hash, "%s", HC_GIT_HASH);
  hello->sensors_count = fill_sensors(node, hello->sensors, false);
}

static void fill_status(node_t *node, handcap_Status *status) {
  node_losses_t now = node_losses(node);
  node->told = now;
  status->imu_samples_lost = now.imu_lost;
  status->messages_dropped = now.pictures_dropped;
  status->rx_bad_crc = now.bad_crc;
  status->rx_bad_frame = now.bad_frame;
  status->rx_too_long = now.too_long;
  status->imu_stuck = now.imu_stuck;
  status->loop_late_us_max = node->loop_late_us_max;
  status->supply_v = NAN;
  status->sensors_count = fill_sensors(node, status->sensors, true);
  node->loop_late_us_max = 0;
}

static void fill_batch(const node_t *node, handcap_ImuBatch *message) {
  const imu_batch_t *batch = &node->batch;
  message->first_sample_t_ns = batch->first_t_ns;
  message->period_ns = batch->period_ns;
  message->gyro_counts_count = message->accel_counts_count = (pb_size_t)(3 * batch->count);
  memcpy(message->gyro_counts, batch->gyro, sizeof batch->gyro);
  memcpy(message->accel_counts, batch->accel, sizeof batch->accel);
  message->gyro_scale = node->iio->gyro_scale;
  message->accel_scale = node->iio->accel_scale;
  message->temperature_c = NAN;
}

static bool write_picture(pb_ostream_t *stream, const pb_field_t *field, void *const *argument) {
  const picture_t *picture = *argument;
  return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, picture->data, picture->size);
}

static void fill_picture(const node_t *node, handcap_VideoFrame *frame) {
  picture_t *picture = node->picture;
  snprintf(frame->camera, sizeof frame->camera, "%s", node->identity.camera_name);
  frame->frame = picture->frame;
  frame->capture_t_ns = picture->capture_t_ns;
  frame->encoding = picture->encoding == ENCODING_H264 ? handcap_VideoFrame_Encoding_ENCODING_H264
                                                       : handcap_VideoFrame_Encoding_ENCODING_MJPEG;
  frame->width = picture->width;
  frame->height = picture->height;
  frame->data.funcs.encode = write_picture;
  frame->data.arg = picture;
  frame->frames_dropped = node->picture_dropped;
  frame->stamp_at_exposure_start = picture->stamp_at_exposure_start;
}

static void fill_reply(handcap_Envelope *envelope, const node_reply_t *reply) {
  envelope->which_body = reply->which;
  if (reply->which == handcap_Envelope_ack_tag) {
    envelope->body.ack = reply->body.ack;
  }
  if (reply->which == handcap_Envelope_log_tag) {
    envelope->body.log = reply->body.log;
  }
  if (reply->which != handcap_Envelope_sync_response_tag) {
    return;
  }
  envelope->body.sync_response = reply->body.sync;
  envelope->body.sync_response.board_sent_t_ns = clock_now_ns();
}

static bool take_picture(node_t *node) {
  if (node->picture == NULL) {
    node->picture = picture_queue_pop(node->pictures, &node->picture_dropped);
  }
  return node->picture != NULL;
}

static bool take_batch(node_t *node) {
  if (node->iio == NULL) {
    return false;
  }
  node->has_batch = node->has_batch || imu_queue_pop(node->samples, &node->batch);
  return node->has_batch;
}

/* What is to be said next, the most urgent first. How many bytes it encodes to at most; 0 where there is nothing. */
static size_t next_message(node_t *node, handcap_Envelope *envelope) {
  if (node->hello_wanted) {
    node->hello_wanted = false;
    envelope->which_body = handcap_Envelope_hello_tag;
    fill_hello(node, &envelope->body.hello);
  } else if (node->replies_read != node->replies_written) {
    fill_reply(envelope, &node->replies[node->replies_read++ % NODE_REPLIES]);
  } else if (node->status_wanted) {
    node->status_wanted = false;
    envelope->which_body = handcap_Envelope_status_tag;
    fill_status(node, &envelope->body.status);
  } else if (take_batch(node)) {
    envelope->which_body = handcap_Envelope_imu_batch_tag;
    fill_batch(node, &envelope->body.imu_batch);
  } else if (take_picture(node)) {
    envelope->which_body = handcap_Envelope_video_frame_tag;
    fill_picture(node, &envelope->body.video_frame);
    return node->picture->size + PICTURE_HEAD_MAX;
  } else {
    return 0;
  }
  return SMALL_MESSAGE_MAX;
}

void messages_let_go_of_sent(node_t *node) {
  if (node->on_the_way == handcap_Envelope_video_frame_tag) {
    picture_queue_keep_sent(node->pictures, node->picture, node->link->bytes_out);
    node->picture = NULL;
  }
  if (node->on_the_way == handcap_Envelope_imu_batch_tag) {
    imu_queue_keep_sent(node->samples, node->link->bytes_out);
    node->has_batch = false;
  }
  node->on_the_way = 0;
}

void messages_forget_arrived(node_t *node) {
  uint64_t arrived = link_arrived(node->link);
  picture_queue_arrived(node->pictures, arrived);
  if (node->iio != NULL) {
    imu_queue_arrived(node->samples, arrived);
  }
}

void messages_take_back(node_t *node) {
  messages_forget_arrived(node);
  if (node->picture != NULL) {
    picture_queue_keep_sent(node->pictures, node->picture, UINT64_MAX);
    node->picture = NULL;
  }
  picture_queue_take_back(node->pictures);
  if (node->iio != NULL) {
    imu_queue_take_back(node->samples);
    node->has_batch = false;
  }
  node->on_the_way = 0;
}

bool messages_put_next(node_t *node) {
  static handcap_Envelope envelope;
  envelope = (handcap_Envelope)handcap_Envelope_init_zero;
  size_t size_max = next_message(node, &envelope);
  if (size_max == 0) {
    return false;
  }
  envelope.seq = node->seq++;
  envelope.t_us = clock_now_ns() / 1000;
  envelope.boot_id = node->boot_id;
  if (link_put(node->link, &envelope, size_max)) {
    node->on_the_way = envelope.which_body;
    return true;
  }
  /* No memory. The host sees the number of the message missing, and a picture is counted. */
  if (envelope.which_body == handcap_Envelope_video_frame_tag) {
    picture_queue_reject(node->pictures, node->picture);
    node->picture = NULL;
  }
  return false;
}
