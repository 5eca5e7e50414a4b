#include "as5600.h"

#include <string.h>

#define STATUS 0x0bU /* then RAW_ANGLE, two bytes */
#define STATUS_MAGNET_STRONG (1U << 3)
#define STATUS_MAGNET_WEAK (1U << 4)
#define STATUS_MAGNET_FOUND (1U << 5)

#define READ_TIMEOUT_NS 2000000U /* sixteen times what the read takes */
#define RETRY_NS 1000000000U     /* a chip that does not answer is asked again once a second */
#define ERRORS_IN_A_ROW_MAX 10U

void as5600_start(as5600_t *encoder, uint64_t now_ns) {
  *encoder = (as5600_t){.due_t_ns = now_ns};
}

static void fail(as5600_t *encoder) {
  if (encoder->state == handcap_SensorState_SENSOR_STATE_RUNNING) {
    encoder->read_errors++;
    if (++encoder->errors_in_a_row >= ERRORS_IN_A_ROW_MAX) {
      encoder->state = handcap_SensorState_SENSOR_STATE_STUCK;
    }
  }
  if (encoder->state == handcap_SensorState_SENSOR_STATE_UNKNOWN) {
    encoder->state = handcap_SensorState_SENSOR_STATE_ABSENT;
  }
  if (encoder->state != handcap_SensorState_SENSOR_STATE_RUNNING) {
    encoder->due_t_ns = encoder->begun_t_ns + RETRY_NS;
  }
}

static bool finish_read(as5600_t *encoder, uint64_t now_ns, hc_angle_t *angle) {
  uint8_t bytes[AS5600_READ_LEN];
  as5600_bus_state_t result = as5600_bus_result(bytes);
  if (result == AS5600_BUS_BUSY && now_ns - encoder->begun_t_ns < READ_TIMEOUT_NS) {
    return false;
  }
  encoder->reading = false;
  if (result != AS5600_BUS_DONE) {
    fail(encoder);
    return false;
  }
  encoder->state = handcap_SensorState_SENSOR_STATE_RUNNING;
  encoder->errors_in_a_row = 0;
  *angle = (hc_angle_t){
      .counts = (uint16_t)((bytes[1] & 0x0fU) << 8U | bytes[2]),
      .magnet_found = (bytes[0] & STATUS_MAGNET_FOUND) != 0,
      .magnet_too_weak = (bytes[0] & STATUS_MAGNET_WEAK) != 0,
      .magnet_too_strong = (bytes[0] & STATUS_MAGNET_STRONG) != 0,
  };
  return true;
}

bool as5600_poll(as5600_t *encoder, uint64_t now_ns, hc_angle_t *angle, uint64_t *t_ns) {
  if (encoder->reading) {
    *t_ns = encoder->begun_t_ns;
    return finish_read(encoder, now_ns, angle);
  }
  if (now_ns >= encoder->due_t_ns) {
    encoder->due_t_ns += AS5600_PERIOD_NS;
    if (encoder->due_t_ns <= now_ns) { /* late by more than a period: no burst to catch up */
      encoder->due_t_ns = now_ns + AS5600_PERIOD_NS;
    }
    encoder->begun_t_ns = now_ns;
    encoder->reading = true;
    as5600_bus_begin(STATUS);
  }
  return false;
}

void as5600_describe(const as5600_t *encoder, handcap_Sensor *sensor) {
  static const char model[] = "AS5600";
  sensor->kind = handcap_SensorKind_SENSOR_KIND_ENCODER;
  memcpy(sensor->model, model, sizeof model);
  sensor->state = encoder->state;
  sensor->rate_hz = 1e9 / AS5600_PERIOD_NS;
}
