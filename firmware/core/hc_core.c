#include "hc_core.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

#include "hc_hal.h"

_Static_assert(HC_COBS_MAX(handcap_Envelope_size + HC_CRC_LEN) <= HC_FRAME_MAX, "our longest frame fits the wire");

static bool ring_full(const hc_ring_t *ring, uint32_t size) {
  return ring->written - ring->read >= size;
}

static bool ring_empty(const hc_ring_t *ring) {
  return ring->written == ring->read;
}

void hc_core_init(hc_core_t *core, const hc_identity_t *identity) {
  memset(core, 0, sizeof *core);
  core->identity = *identity;
  core->hello_pending = true;
  core->status_t_ns = hal_now_ns();
}

/* What came in. */

static void take_sync_request(hc_core_t *core, uint64_t received_t_ns) {
  if (ring_full(&core->syncs, HC_SYNCS)) {
    core->messages_dropped++;
    return;
  }
  core->sync[core->syncs.written++ % HC_SYNCS] = (handcap_SyncResponse){
      .host_sent_t_ns = core->heard.body.sync_request.host_sent_t_ns,
      .board_received_t_ns = received_t_ns,
  };
}

static void take_command(hc_core_t *core) {
  /* Not done either where there is no room for its Ack: the host asks again. */
  if (ring_full(&core->acks, HC_ACKS)) {
    core->messages_dropped++;
    return;
  }
  bool streaming = core->commands.streaming;
  core->ack[core->acks.written++ % HC_ACKS] = hc_command(&core->commands, &core->heard.body.command);
  if (core->commands.hello_wanted) {
    core->commands.hello_wanted = false;
    core->hello_pending = true;
  }
  if (streaming && !core->commands.streaming) {
    hc_imu_drop(&core->imu, core->imu.written - core->imu.read);
    core->stamps.read = core->stamps.written;
    core->angles.read = core->angles.written;
  }
}

void hc_core_receive(hc_core_t *core, size_t link, uint8_t byte, uint64_t frame_t_ns) {
  hc_deframer_t *deframer = &core->deframer[link];
  if (!hc_deframer_push(deframer, byte)) {
    return;
  }
  pb_istream_t stream = pb_istream_from_buffer(deframer->bytes, deframer->len);
  if (!pb_decode(&stream, handcap_Envelope_fields, &core->heard)) {
    core->rx_not_a_message++;
    return;
  }
  if (core->heard.which_body == handcap_Envelope_sync_request_tag) {
    take_sync_request(core, frame_t_ns);
  } else if (core->heard.which_body == handcap_Envelope_command_tag) {
    take_command(core);
  }
}

void hc_core_imu_traits(hc_core_t *core, const hc_imu_traits_t *traits) {
  core->imu_traits = *traits;
}

void hc_core_imu(hc_core_t *core, uint64_t t_ns, const hc_imu_sample_t *sample) {
  if (core->commands.streaming) {
    hc_imu_put(&core->imu, t_ns, sample);
  }
}

void hc_core_stamp(hc_core_t *core, const handcap_FrameStamp *stamp) {
  if (!core->commands.streaming) {
    return;
  }
  if (ring_full(&core->stamps, HC_STAMPS)) {
    core->stamps.read++;
    core->stamps_dropped++;
  }
  core->stamp[core->stamps.written++ % HC_STAMPS] = *stamp;
}

void hc_core_angle(hc_core_t *core, uint64_t t_ns, uint32_t period_ns, const hc_angle_t *angle) {
  if (!core->commands.streaming) {
    return;
  }
  if (ring_full(&core->angles, HC_ANGLES)) {
    core->angles.read++;
    core->messages_dropped++;
  }
  core->angle_t_ns[core->angles.written % HC_ANGLES] = t_ns;
  core->angle[core->angles.written++ % HC_ANGLES] = *angle;
  core->angle_period_ns = period_ns;
}

void hc_core_button(hc_core_t *core, const handcap_Button *button) {
  if (ring_full(&core->buttons, HC_BUTTONS)) {
    core->buttons.read++;
    core->messages_dropped++;
  }
  core->button[core->buttons.written++ % HC_BUTTONS] = *button;
}

uint64_t hc_core_wake(hc_core_t *core) {
  core->wake_t_ns = hal_now_ns();
  hal_watchdog_feed();
  return core->wake_t_ns;
}

void hc_core_rest(hc_core_t *core) {
  uint32_t turn_us = (uint32_t)(hal_now_ns() - core->wake_t_ns) / 1000U;
  if (turn_us > core->loop_late_us_max) {
    core->loop_late_us_max = turn_us;
  }
}

/* What goes out. Each of these fills core->said's body and says whether it had something to say. */

static void begin_body(hc_core_t *core, pb_size_t tag) {
  memset(&core->said.body, 0, sizeof core->said.body);
  core->said.which_body = tag;
}

static void copy_text(char *to, const char *from, size_t size) {
  size_t i = 0;
  for (; i + 1 < size && from[i] != 0; i++) {
    to[i] = from[i];
  }
  to[i] = 0;
}

static bool say_sync_response(hc_core_t *core) {
  if (ring_empty(&core->syncs)) {
    return false;
  }
  begin_body(core, handcap_Envelope_sync_response_tag);
  core->said.body.sync_response = core->sync[core->syncs.read++ % HC_SYNCS];
  return true;
}

static bool say_hello(hc_core_t *core) {
  if (!core->hello_pending) {
    return false;
  }
  core->hello_pending = false;
  begin_body(core, handcap_Envelope_hello_tag);
  handcap_Hello *hello = &core->said.body.hello;
  hello->protocol_version = handcap_ProtocolVersion_PROTOCOL_VERSION_CURRENT;
  copy_text(hello->board, core->identity.board, sizeof hello->board);
  hello->uid = core->identity.uid;
  copy_text(hello->firmware_version, core->identity.firmware_version, sizeof hello->firmware_version);
  copy_text(hello->git_hash, core->identity.git_hash, sizeof hello->git_hash);
  hello->sensors_count = (pb_size_t)hal_sensors(hello->sensors, sizeof hello->sensors / sizeof hello->sensors[0]);
  hello->boot_count = core->identity.boot_count;
  hello->reset_cause = core->identity.reset_cause;
  return true;
}

static bool say_ack(hc_core_t *core) {
  if (ring_empty(&core->acks)) {
    return false;
  }
  const hc_ack_t *ack = &core->ack[core->acks.read++ % HC_ACKS];
  begin_body(core, handcap_Envelope_ack_tag);
  core->said.body.ack.id = ack->id;
  core->said.body.ack.outcome = ack->outcome;
  copy_text(core->said.body.ack.text, ack->text, sizeof core->said.body.ack.text);
  return true;
}

static bool say_button(hc_core_t *core) {
  if (ring_empty(&core->buttons)) {
    return false;
  }
  begin_body(core, handcap_Envelope_button_tag);
  core->said.body.button = core->button[core->buttons.read++ % HC_BUTTONS];
  return true;
}

static bool say_imu_batch(hc_core_t *core, uint64_t now_ns) {
  size_t count = hc_imu_batch_len(&core->imu, now_ns, core->imu_traits.period_ns);
  if (count == 0) {
    return false;
  }
  begin_body(core, handcap_Envelope_imu_batch_tag);
  handcap_ImuBatch *batch = &core->said.body.imu_batch;
  uint64_t last_t_ns = 0;
  for (size_t i = 0; i < count; i++) {
    const hc_imu_sample_t *sample = hc_imu_peek(&core->imu, i, &last_t_ns);
    memcpy(&batch->gyro_counts[3 * i], sample->gyro, sizeof sample->gyro);
    memcpy(&batch->accel_counts[3 * i], sample->accel, sizeof sample->accel);
    if (i == 0) {
      batch->first_sample_t_ns = last_t_ns;
    }
  }
  batch->gyro_counts_count = (pb_size_t)(3 * count);
  batch->accel_counts_count = (pb_size_t)(3 * count);
  batch->period_ns = core->imu_traits.period_ns;
  if (count > 1) {
    batch->period_ns = (uint32_t)(last_t_ns - batch->first_sample_t_ns) / (uint32_t)(count - 1);
  }
  hc_losses_t losses;
  hal_losses(&losses);
  batch->fifo_overflows = losses.imu_fifo_lost;
  batch->gyro_scale = core->imu_traits.gyro_scale;
  batch->accel_scale = core->imu_traits.accel_scale;
  batch->temperature_c = core->imu_traits.temperature_c;
  hc_imu_drop(&core->imu, count);
  return true;
}

static bool say_stamp(hc_core_t *core) {
  if (ring_empty(&core->stamps)) {
    return false;
  }
  begin_body(core, handcap_Envelope_frame_stamp_tag);
  core->said.body.frame_stamp = core->stamp[core->stamps.read++ % HC_STAMPS];
  return true;
}

/* Angles whose times are a period apart, the magnet's state the same from the first to the last. */
static uint32_t angles_alike(const hc_core_t *core) {
  uint32_t waiting = core->angles.written - core->angles.read;
  uint32_t most = waiting < HC_ENCODER_BATCH ? waiting : HC_ENCODER_BATCH;
  for (uint32_t i = 1; i < most; i++) {
    const hc_angle_t *before = &core->angle[(core->angles.read + i - 1U) % HC_ANGLES];
    const hc_angle_t *angle = &core->angle[(core->angles.read + i) % HC_ANGLES];
    uint64_t step_ns = core->angle_t_ns[(core->angles.read + i) % HC_ANGLES] -
                       core->angle_t_ns[(core->angles.read + i - 1U) % HC_ANGLES];
    bool same_magnet = before->magnet_found == angle->magnet_found &&
                       before->magnet_too_weak == angle->magnet_too_weak &&
                       before->magnet_too_strong == angle->magnet_too_strong;
    if (!same_magnet || step_ns > core->angle_period_ns + core->angle_period_ns / 2U) {
      return i;
    }
  }
  return most == HC_ENCODER_BATCH ? most : 0;
}

static bool say_encoder(hc_core_t *core) {
  uint32_t count = angles_alike(core);
  if (count == 0) {
    return false;
  }
  begin_body(core, handcap_Envelope_encoder_tag);
  handcap_Encoder *encoder = &core->said.body.encoder;
  encoder->first_sample_t_ns = core->angle_t_ns[core->angles.read % HC_ANGLES];
  encoder->period_ns = core->angle_period_ns;
  if (count > 1) {
    uint64_t last_t_ns = core->angle_t_ns[(core->angles.read + count - 1U) % HC_ANGLES];
    encoder->period_ns = (uint32_t)(last_t_ns - encoder->first_sample_t_ns) / (count - 1U);
  }
  for (uint32_t i = 0; i < count; i++) {
    const hc_angle_t *angle = &core->angle[core->angles.read++ % HC_ANGLES];
    encoder->angle_counts[i] = angle->counts;
    encoder->magnet_found = angle->magnet_found;
    encoder->magnet_too_weak = angle->magnet_too_weak;
    encoder->magnet_too_strong = angle->magnet_too_strong;
  }
  encoder->angle_counts_count = (pb_size_t)count;
  encoder->counts_per_turn = 4096;
  hc_losses_t losses;
  hal_losses(&losses);
  encoder->read_errors = losses.encoder_read_errors;
  return true;
}

static void count_losses(const hc_core_t *core, handcap_Status *status) {
  hc_losses_t losses;
  hal_losses(&losses);
  status->imu_samples_lost = losses.imu_fifo_lost + core->imu.lost;
  status->frame_stamps_dropped = losses.frame_stamps_dropped + core->stamps_dropped;
  status->messages_dropped = core->messages_dropped;
  status->rx_bad_frame = core->rx_not_a_message;
  for (size_t link = 0; link < HC_LINKS; link++) {
    status->rx_bad_crc += core->deframer[link].bad_crc;
    status->rx_bad_frame += core->deframer[link].bad_frame;
    status->rx_too_long += core->deframer[link].too_long;
  }
  status->rx_overruns = losses.rx_overruns;
  status->imu_invalid_samples = losses.imu_invalid_samples;
  status->imu_fifo_resets = losses.imu_fifo_resets;
  status->imu_stuck = losses.imu_stuck;
  status->encoder_read_errors = losses.encoder_read_errors;
}

static uint32_t sum_of_losses(const handcap_Status *status) {
  return status->imu_samples_lost + status->frame_stamps_dropped + status->messages_dropped + status->rx_bad_crc +
         status->rx_bad_frame + status->rx_too_long + status->rx_overruns + status->imu_invalid_samples +
         status->imu_fifo_resets + status->imu_stuck + status->encoder_read_errors;
}

static bool well(const handcap_Sensor *sensor) {
  return sensor->state == handcap_SensorState_SENSOR_STATE_RUNNING ||
         sensor->state == handcap_SensorState_SENSOR_STATE_STOPPED;
}

static bool say_status(hc_core_t *core, uint64_t now_ns) {
  uint64_t since_ns = now_ns - core->status_t_ns;
  bool due = since_ns >= HC_STATUS_PERIOD_NS;
  bool look = since_ns >= HC_STATUS_LOSS_PERIOD_NS && now_ns - core->losses_seen_t_ns >= HC_LOSSES_PERIOD_NS;
  if (!due && !look) {
    return false;
  }
  core->losses_seen_t_ns = now_ns;
  begin_body(core, handcap_Envelope_status_tag);
  handcap_Status *status = &core->said.body.status;
  count_losses(core, status);
  uint32_t losses = sum_of_losses(status);
  if (!due && losses == core->losses_told) {
    return false;
  }
  core->losses_told = losses;
  core->status_t_ns = now_ns;
  status->loop_late_us_max = core->loop_late_us_max;
  core->loop_late_us_max = 0;
  status->stack_free_bytes = hal_stack_free_bytes();
  status->supply_v = __builtin_nanf("");
  size_t count = hal_sensors(status->sensors, sizeof status->sensors / sizeof status->sensors[0]);
  for (size_t i = 0; i < count; i++) {
    if (!well(&status->sensors[i])) {
      status->sensors[status->sensors_count++] = status->sensors[i];
    }
  }
  return true;
}

/* In order of worth: what loses its meaning by waiting first, then samples, then what tells of losses. */
static bool say_something(hc_core_t *core, uint64_t now_ns) {
  return say_sync_response(core) || say_hello(core) || say_ack(core) || say_button(core) ||
         say_imu_batch(core, now_ns) || say_stamp(core) || say_encoder(core) || say_status(core, now_ns);
}

static size_t frame_said(hc_core_t *core, uint8_t *out) {
  pb_ostream_t stream = pb_ostream_from_buffer(core->message, handcap_Envelope_size);
  if (!pb_encode(&stream, handcap_Envelope_fields, &core->said)) {
    core->messages_dropped++;
    return 0;
  }
  return hc_frame(core->message, stream.bytes_written, out);
}

size_t hc_core_next_frame(hc_core_t *core, uint8_t *out) {
  uint64_t now_ns = hal_now_ns();
  if (!say_something(core, now_ns)) {
    if (core->commands.bootloader_wanted) {
      core->commands.bootloader_wanted = false; /* its Ack is out: the link is idle and nothing waits */
      hal_reboot_to_bootloader();
    }
    return 0;
  }
  core->said.seq = core->seq++;
  core->said.t_us = now_ns / 1000U;
  core->said.boot_id = core->identity.boot_id;
  if (core->said.which_body == handcap_Envelope_sync_response_tag) {
    /* Framing takes a tenth of a millisecond on a small processor. Done once to see how long, so that what is said is
     * when the first byte goes out and not when the work on it began. */
    uint64_t begun_t_ns = hal_now_ns();
    core->said.body.sync_response.board_sent_t_ns = begun_t_ns;
    (void)frame_said(core, out);
    uint64_t sent_t_ns = hal_now_ns();
    core->said.body.sync_response.board_sent_t_ns = sent_t_ns + (sent_t_ns - begun_t_ns);
  }
  return frame_said(core, out);
}
