#include "node.h"

#include <errno.h>
#include <math.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "version.h"

#define SMALL_MESSAGE_MAX 1016 /* anything but a picture, encoded */
#define PICTURE_HEAD_MAX 256   /* of a picture's message, all but its bytes */
#define STATUS_PERIOD_NS NS_PER_S
#define LOSSES_PERIOD_NS (100 * NS_PER_MS) /* not a flood of Status where something is lost all the time */
#define IMU_BATCH_PATIENCE_NS (50 * NS_PER_MS)
#define IMU_RETRY_NS NS_PER_S
#define TURN_MESSAGES 16 /* then others get their turn */

__attribute__((format(printf, 3, 4))) static void say(node_t *node, handcap_Log_Level level, const char *format, ...) {
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

static node_losses_t losses(node_t *node) {
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
  node_losses_t now = losses(node);
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

static void let_go_of_sent(node_t *node) {
  if (node->on_the_way == handcap_Envelope_video_frame_tag) {
    free(node->picture);
    node->picture = NULL;
  }
  if (node->on_the_way == handcap_Envelope_imu_batch_tag) {
    node->has_batch = false;
  }
  node->on_the_way = 0;
}

static bool put_next(node_t *node) {
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

static void lose_link(node_t *node, const char *why) {
  link_drop(node->link);
  node->on_the_way = 0;
  node->replies_read = node->replies_written;
  node->link_lost_t_ns = clock_now_ns();
  node->link_lost_dropped = picture_queue_state(node->pictures).dropped;
  say(node, handcap_Log_Level_LEVEL_INFO, "%s left: %s", node->link->peer, why);
}

static void greet(node_t *node) {
  uint32_t dropped = picture_queue_state(node->pictures).dropped - node->link_lost_dropped;
  node->hello_wanted = true;
  node->status_wanted = true;
  memset(node->done, 0, sizeof node->done); /* another host may count its commands from 1 again */
  say(node, handcap_Log_Level_LEVEL_INFO, "%s is here", node->link->peer);
  if (!node->streaming || node->link_lost_t_ns == 0) {
    return;
  }
  double away_s = (double)(clock_now_ns() - node->link_lost_t_ns) / 1e9;
  say(node, dropped > 0 ? handcap_Log_Level_LEVEL_WARNING : handcap_Log_Level_LEVEL_INFO,
      "the link was away for %.1f s: %u pictures were thrown away for want of room, the others follow", away_s,
      dropped);
}

static void reply(node_t *node, const node_reply_t *answer) {
  node->replies[node->replies_written++ % NODE_REPLIES] = *answer;
}

static handcap_Ack acknowledgement(uint32_t id, handcap_Ack_Outcome outcome, const char *text) {
  handcap_Ack ack = {.id = id, .outcome = outcome};
  snprintf(ack.text, sizeof ack.text, "%s", text);
  return ack;
}

static handcap_Ack obey(node_t *node, const handcap_Command *command) {
  switch (command->which_what) {
    case handcap_Command_identify_tag:
      node->hello_wanted = true;
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_DONE, "");
    case handcap_Command_stream_tag:
      node->streaming = command->what.stream.on;
      camera_stream(node->camera, node->streaming);
      node->imu_retry_t_ns = 0;
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_DONE, "");
    default:
      return acknowledgement(command->id, handcap_Ack_Outcome_OUTCOME_NOT_KNOWN,
                             "a camera node knows Identify and Stream only");
  }
}

static void take_command(node_t *node, const handcap_Command *command) {
  node_reply_t answer = {.which = handcap_Envelope_ack_tag};
  answer.body.ack = acknowledgement(0, handcap_Ack_Outcome_OUTCOME_REFUSED, "id: 1 or more");
  if (command->id != 0) {
    const handcap_Ack *known = NULL;
    for (int i = 0; i < NODE_COMMANDS_REMEMBERED; i++) {
      if (node->done[i].id == command->id) {
        known = &node->done[i];
      }
    }
    if (known == NULL) {
      handcap_Ack *place = &node->done[node->done_next++ % NODE_COMMANDS_REMEMBERED];
      *place = obey(node, command);
      known = place;
    }
    answer.body.ack = *known;
  }
  reply(node, &answer);
}

static void take_message(node_t *node, const uint8_t *bytes, size_t length, uint64_t received_t_ns) {
  static handcap_Envelope envelope;
  envelope = (handcap_Envelope)handcap_Envelope_init_zero;
  pb_istream_t stream = pb_istream_from_buffer(bytes, length);
  bool message = pb_decode(&stream, handcap_Envelope_fields, &envelope);
  if (message && envelope.which_body == handcap_Envelope_sync_request_tag) {
    node_reply_t answer = {.which = handcap_Envelope_sync_response_tag};
    answer.body.sync.host_sent_t_ns = envelope.body.sync_request.host_sent_t_ns;
    answer.body.sync.board_received_t_ns = received_t_ns;
    reply(node, &answer);
  } else if (message && envelope.which_body == handcap_Envelope_command_tag) {
    take_command(node, &envelope.body.command);
  } else {
    node->rx_not_a_message++;
  }
}

/* So many bytes at a time that their answers always have room, however small the messages: a message has 6 bytes or
 * more (code, a byte, CRC, zero), and next to nothing is as short as that. */
static size_t room_for_bytes(const node_t *node) {
  size_t room = NODE_REPLIES - (node->replies_written - node->replies_read);
  return room * 6;
}

static void hear(node_t *node, uint64_t received_t_ns) {
  uint8_t bytes[NODE_REPLIES * 6];
  size_t room = room_for_bytes(node);
  if (room == 0) {
    return;
  }
  ssize_t got = recv(node->link->fd, bytes, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return;
  }
  if (got <= 0) {
    lose_link(node, got == 0 ? "it closed the link" : strerror(errno));
    return;
  }
  hc_deframer_t *deframer = &node->link->deframer;
  for (ssize_t i = 0; i < got; i++) {
    if (hc_deframer_push(deframer, bytes[i])) {
      take_message(node, deframer->bytes, deframer->len, received_t_ns);
    }
  }
}

static void hear_host(node_t *node, short events, uint64_t now_ns) {
  if (events & POLLIN) {
    hear(node, now_ns);
  }
  /* Gone, though not all that it said may have been read: nobody waits for the answers. */
  if (events & (POLLRDHUP | POLLHUP | POLLERR) && node->link->fd >= 0) {
    lose_link(node, "it closed the link");
  }
}

static void speak(node_t *node) {
  for (int i = 0; i < TURN_MESSAGES; i++) {
    if (!link_busy(node->link)) {
      let_go_of_sent(node);
      if (!put_next(node)) {
        return;
      }
    }
    link_result_t result = link_flush(node->link);
    if (result == LINK_LOST) {
      lose_link(node, strerror(errno));
    }
    if (result != LINK_OPEN) {
      return;
    }
    let_go_of_sent(node);
  }
}

static bool has_something_to_say(const node_t *node) {
  if (link_busy(node->link) || node->hello_wanted || node->status_wanted || node->picture != NULL) {
    return true;
  }
  if (node->replies_read != node->replies_written) {
    return true;
  }
  if (node->iio != NULL && (node->has_batch || node->samples->read != node->samples->written)) {
    return true;
  }
  return picture_queue_state(node->pictures).bytes > 0;
}

static void hear_of_camera(node_t *node) {
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
      say(node, handcap_Log_Level_LEVEL_ERROR, "camera: %s; trying again every second", view.problem);
      break;
    case CAMERA_ENDED:
      say(node, handcap_Log_Level_LEVEL_INFO, "the file source is at its end");
      break;
    case CAMERA_RUNNING:
      say(node, handcap_Log_Level_LEVEL_INFO, "camera: running");
      break;
    case CAMERA_STOPPED:
      say(node, handcap_Log_Level_LEVEL_INFO, "camera: stopped");
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
  say(node, handcap_Log_Level_LEVEL_ERROR, "inertial sensor: %s; trying again every second", node->iio->problem);
}

static void tend_imu(node_t *node, uint64_t now_ns) {
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

static void hear_imu(node_t *node, short events, uint64_t now_ns) {
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

static void tend_status(node_t *node, uint64_t now_ns) {
  node_losses_t now = losses(node);
  bool moved = memcmp(&now, &node->told, sizeof now) != 0;
  if (now_ns - node->status_t_ns < STATUS_PERIOD_NS && !(moved && now_ns - node->losses_t_ns >= LOSSES_PERIOD_NS)) {
    return;
  }
  if (now.pictures_damaged != node->damaged_told) {
    node->damaged_told = now.pictures_damaged;
    say(node, handcap_Log_Level_LEVEL_WARNING, "camera: %u pictures came damaged since the start and were not sent",
        now.pictures_damaged);
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
  short heard = room_for_bytes(node) > 0 ? POLLIN : 0, spoken = host && has_something_to_say(node) ? POLLOUT : 0;
  waiting[SIGNALS] = (struct pollfd){.fd = node->signal_fd, .events = POLLIN};
  waiting[ARRIVALS] = (struct pollfd){.fd = node->link->listen_fd, .events = POLLIN};
  waiting[NEWS] = (struct pollfd){.fd = node->camera->news_fd, .events = POLLIN};
  waiting[INERTIAL] = (struct pollfd){.fd = node->imu_running ? node->iio->fd : -1, .events = POLLIN};
  waiting[HOST] = (struct pollfd){.fd = host ? node->link->fd : -1, .events = (short)(heard | spoken | POLLRDHUP)};
}

/* All that one turn of the loop does but wait. */
static void attend(node_t *node, const struct pollfd *waiting, uint64_t now_ns) {
  hear_host(node, waiting[HOST].revents, now_ns);
  if (waiting[ARRIVALS].revents != 0 && link_accept(node->link)) {
    greet(node);
  }
  if (waiting[INERTIAL].revents != 0) {
    hear_imu(node, waiting[INERTIAL].revents, now_ns);
  }
  if (waiting[NEWS].revents != 0) {
    hear_of_camera(node);
  }
  tend_imu(node, now_ns);
  tend_status(node, now_ns);
  if (node->link->fd >= 0) {
    speak(node);
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
