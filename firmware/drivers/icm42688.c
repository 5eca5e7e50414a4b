#include "icm42688.h"

#include <string.h>

enum {
  DEVICE_CONFIG = 0x11,
  INT_CONFIG = 0x14,
  FIFO_CONFIG = 0x16,
  ACCEL_DATA_X1 = 0x1f, /* accelerometer, then gyroscope, six bytes each */
  INT_STATUS = 0x2d, /* FIFO_COUNTH and FIFO_COUNTL follow */
  FIFO_DATA = 0x30,
  SIGNAL_PATH_RESET = 0x4b,
  INTF_CONFIG0 = 0x4c,
  PWR_MGMT0 = 0x4e,
  GYRO_CONFIG0 = 0x4f,
  ACCEL_CONFIG0 = 0x50,
  FIFO_CONFIG1 = 0x5f,
  FIFO_CONFIG2 = 0x60,
  FIFO_CONFIG3 = 0x61,
  INT_CONFIG1 = 0x64,
  INT_SOURCE0 = 0x65,
  SELF_TEST_CONFIG = 0x70,
  WHO_AM_I = 0x75,
  REG_BANK_SEL = 0x76,
  BANK_1_XG_ST_DATA = 0x5f, /* y and z follow, in both banks */
  BANK_2_XA_ST_DATA = 0x3b,
};

#define IDENTITY 0x47U
#define SOFT_RESET 0x01U
#define FIFO_FLUSH 0x02U
#define STATUS_FIFO_FULL 0x02U
#define ACCEL_AND_GYRO_LOW_NOISE 0x0fU
#define HEADER_KIND 0xf0U /* empty, accelerometer, gyroscope, 20 bits */
#define HEADER_ACCEL_AND_GYRO 0x60U
#define NO_DATA INT16_MIN

#define GYRO_START_UP_NS 45000000U   /* DS-000347 table 1: 30 ms typical */
#define QUIET_NS 120000000U          /* twelve periods of the lowest rate */
#define RETRY_NS 1000000000U         /* a chip that is not there is asked again once a second */
#define WINDOW_EDGES 256U
#define EMPTY_VISITS_MAX 3U
#define LATE_VISITS_MAX 2U
#define TRIES_MAX 4U         /* an INT1 line that rings must not hold the loop */
#define RESETS_IN_A_ROW_MAX 3U
#define SELF_TEST_SAMPLES 32U
#define SELF_TEST_PERIOD_US 1100U /* a little more than a sample: none is counted twice */
#define SELF_TEST_SETTLE_MS 50U

static uint8_t read_register(uint8_t reg) {
  uint8_t value;
  icm42688_bus_read(reg, &value, 1);
  return value;
}

static int16_t big_endian(const uint8_t *bytes) {
  return (int16_t)((uint16_t)bytes[0] << 8U | bytes[1]);
}

static bool write_checked(uint8_t reg, uint8_t value) {
  icm42688_bus_write(reg, value);
  return read_register(reg) == value;
}

static uint32_t nominal_period_ns(uint32_t rate_hz) {
  return 1000000000U / rate_hz;
}

/* A visit every 10 ms at 1 kHz: seldom enough to leave the loop in peace, often enough for live use. */
static uint32_t watermark(uint32_t rate_hz) {
  return rate_hz >= 100U ? rate_hz / 100U : 1U;
}

static bool write_rate(uint32_t rate_hz) {
  uint8_t code = rate_hz == 1000U ? 0x06U : rate_hz == 500U ? 0x0fU : rate_hz == 200U ? 0x07U : 0x08U;
  uint32_t bytes = watermark(rate_hz) * ICM42688_PACKET_LEN;
  /* Range code 0 in the upper bits: 2000 degrees per second, 16 g. */
  return write_checked(GYRO_CONFIG0, code) && write_checked(ACCEL_CONFIG0, code) &&
         write_checked(FIFO_CONFIG2, (uint8_t)bytes) && write_checked(FIFO_CONFIG3, (uint8_t)(bytes >> 8U));
}

/* The last edge and its number, both of the same interrupt. */
static uint32_t last_edge(const icm42688_t *imu, uint64_t *t_ns) {
  uint32_t edges;
  do {
    edges = imu->edges;
    *t_ns = imu->edge_t_ns;
  } while (edges != imu->edges);
  return edges;
}

/* Nothing of before counts: what follows is a new series of samples. */
static void begin_series(icm42688_t *imu, uint64_t now_ns, uint32_t edges_to_skip) {
  uint64_t edge_t_ns;
  icm42688_bus_write(SIGNAL_PATH_RESET, FIFO_FLUSH);
  imu->edges_taken = last_edge(imu, &edge_t_ns);
  imu->edges_to_skip = edges_to_skip;
  imu->window_edges = imu->edges_taken;
  imu->window_t_ns = 0;
  imu->empty_visits = 0;
  imu->late_visits = 0;
  imu->quiet_since_t_ns = now_ns;
}

static bool configure(uint32_t rate_hz) {
  static const uint8_t registers[][2] = {
      {INT_CONFIG, 0x03},   /* INT1 pulses, push-pull, active high */
      {INT_CONFIG1, 0x00},  /* INT_ASYNC_RESET off, as the datasheet demands for the pins to work */
      {INTF_CONFIG0, 0x33}, /* FIFO count in bytes, big endian both, no I2C */
      {FIFO_CONFIG1, 0x27}, /* accelerometer, gyroscope, temperature; watermark tested at each sample */
      {INT_SOURCE0, 0x08},  /* data ready on INT1 */
      {FIFO_CONFIG, 0x40},  /* stream: the oldest is overwritten */
  };
  if (!write_rate(rate_hz)) {
    return false;
  }
  for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++) {
    if (!write_checked(registers[i][0], registers[i][1])) {
      return false;
    }
  }
  bool powered = write_checked(PWR_MGMT0, ACCEL_AND_GYRO_LOW_NOISE);
  icm42688_bus_wait_us(250); /* no register write within 200 us of this one */
  return powered;
}

static handcap_SensorState delivering_state(const icm42688_t *imu) {
  return imu->self_test_failed ? handcap_SensorState_SENSOR_STATE_FAILED_SELF_TEST
                               : handcap_SensorState_SENSOR_STATE_RUNNING;
}

bool icm42688_start(icm42688_t *imu, uint32_t rate_hz, uint64_t now_ns) {
  imu->rate_hz = rate_hz;
  imu->period_ns = nominal_period_ns(rate_hz);
  imu->quiet_since_t_ns = now_ns;
  icm42688_bus_write(REG_BANK_SEL, 0);
  icm42688_bus_write(DEVICE_CONFIG, SOFT_RESET);
  icm42688_bus_wait_us(1500);
  imu->identity = read_register(WHO_AM_I);
  if (imu->identity == 0x00 || imu->identity == 0xff) { /* an open line reads all zeros or all ones */
    imu->state = handcap_SensorState_SENSOR_STATE_ABSENT;
    return false;
  }
  if (imu->identity != IDENTITY) {
    imu->state = handcap_SensorState_SENSOR_STATE_WRONG_IDENTITY;
    return false;
  }
  if (!configure(rate_hz)) {
    imu->state = handcap_SensorState_SENSOR_STATE_BAD_REGISTERS;
    return false;
  }
  imu->state = delivering_state(imu);
  imu->resets_in_a_row = 0;
  begin_series(imu, now_ns, GYRO_START_UP_NS / imu->period_ns);
  return true;
}

static bool delivers(const icm42688_t *imu) {
  return imu->state == handcap_SensorState_SENSOR_STATE_RUNNING ||
         imu->state == handcap_SensorState_SENSOR_STATE_FAILED_SELF_TEST ||
         imu->state == handcap_SensorState_SENSOR_STATE_STUCK;
}

/* Sums of SELF_TEST_SAMPLES samples, three axes of the accelerometer and three of the gyroscope. */
static void sum_samples(int32_t sums[6]) {
  memset(sums, 0, 6 * sizeof sums[0]);
  for (uint32_t i = 0; i < SELF_TEST_SAMPLES; i++) {
    uint8_t bytes[12];
    icm42688_bus_wait_us(SELF_TEST_PERIOD_US);
    icm42688_bus_read(ACCEL_DATA_X1, bytes, sizeof bytes);
    for (size_t axis = 0; axis < 6; axis++) {
      sums[axis] += big_endian(bytes + 2 * axis);
    }
  }
}

static void wait_to_settle(void) {
  for (uint32_t i = 0; i < SELF_TEST_SETTLE_MS; i++) {
    icm42688_bus_wait_us(1000);
  }
}

static void read_trims(uint8_t trims[6]) {
  icm42688_bus_write(REG_BANK_SEL, 2);
  icm42688_bus_read(BANK_2_XA_ST_DATA, trims, 3);
  icm42688_bus_write(REG_BANK_SEL, 1);
  icm42688_bus_read(BANK_1_XG_ST_DATA, trims + 3, 3);
  icm42688_bus_write(REG_BANK_SEL, 0);
}

/* The factory's answer for trim code c at the narrowest ranges: 2620 * 1.01^(c - 1) counts. */
static bool answer_is_right(int32_t answer, uint8_t trim) {
  if (trim == 0) {
    return false; /* a chip whose trims cannot be read cannot be judged well */
  }
  float expected = 2620.0F;
  for (uint8_t i = 1; i < trim; i++) {
    expected *= 1.01F;
  }
  float ratio = (float)answer / expected;
  return ratio > 0.5F && ratio < 1.5F;
}

static bool answers_are_right(void) {
  int32_t still[6], pushed[6];
  uint8_t trims[6];
  read_trims(trims);
  icm42688_bus_write(GYRO_CONFIG0, 0x66);  /* 250 degrees per second, 1 kHz */
  icm42688_bus_write(ACCEL_CONFIG0, 0x66); /* 2 g */
  wait_to_settle();
  sum_samples(still);
  icm42688_bus_write(SELF_TEST_CONFIG, 0x7f); /* all axes of both, and power for the accelerometer's */
  wait_to_settle();
  sum_samples(pushed);
  icm42688_bus_write(SELF_TEST_CONFIG, 0);
  bool right = true;
  for (size_t axis = 0; axis < 6; axis++) {
    right = answer_is_right((pushed[axis] - still[axis]) / (int32_t)SELF_TEST_SAMPLES, trims[axis]) && right;
  }
  return right;
}

bool icm42688_self_test(icm42688_t *imu) {
  if (!delivers(imu)) {
    return false;
  }
  bool right = answers_are_right();
  if (!right) { /* once more for a rig that was moved */
    right = answers_are_right();
  }
  imu->self_test_failed = !right;
  return right;
}

bool icm42688_set_rate(icm42688_t *imu, uint32_t rate_hz, uint64_t now_ns) {
  if (!delivers(imu)) {
    return false;
  }
  if (rate_hz == imu->rate_hz) {
    return true;
  }
  if (!write_rate(rate_hz)) {
    imu->state = handcap_SensorState_SENSOR_STATE_BAD_REGISTERS;
    return false;
  }
  imu->rate_hz = rate_hz;
  imu->period_ns = nominal_period_ns(rate_hz);
  imu->sample_t_ns = 0; /* what the change costs was asked for */
  begin_series(imu, now_ns, 2); /* the sample under way is neither of the old rate nor of the new */
  return true;
}

void icm42688_edge(icm42688_t *imu, uint64_t t_ns) {
  imu->edge_t_ns = t_ns;
  imu->edges++;
}

static void measure_period(icm42688_t *imu, uint32_t edges, uint64_t edge_t_ns) {
  uint32_t count = edges - imu->window_edges;
  if (imu->window_t_ns != 0 && count < WINDOW_EDGES) {
    return;
  }
  if (imu->window_t_ns != 0) {
    uint32_t nominal_ns = nominal_period_ns(imu->rate_hz);
    uint32_t measured_ns = (uint32_t)((edge_t_ns - imu->window_t_ns) / count);
    /* Beyond 3 % it is no chip's clock: an edge was missed. */
    if (measured_ns > nominal_ns - nominal_ns / 32U && measured_ns < nominal_ns + nominal_ns / 32U) {
      imu->period_ns = measured_ns;
    }
  }
  imu->window_edges = edges;
  imu->window_t_ns = edge_t_ns;
}

/* Counted by time, whatever the reason: edges that fall on each other while interrupts are held off are one edge. */
static void count_lost(icm42688_t *imu, uint64_t t_ns) {
  uint64_t since_ns = t_ns - imu->sample_t_ns;
  if (imu->sample_t_ns != 0 && since_ns > imu->period_ns + imu->period_ns / 2U) {
    imu->lost += (uint32_t)((since_ns + imu->period_ns / 2U) / imu->period_ns) - 1U;
  }
  imu->sample_t_ns = t_ns;
}

static void reset_fifo(icm42688_t *imu, uint64_t now_ns) {
  imu->fifo_resets++;
  imu->resets_in_a_row++;
  begin_series(imu, now_ns, 1); /* the sample at the moment of the flush may be in it or not */
}

static bool no_data(const int16_t *axes) {
  return axes[0] == NO_DATA && axes[1] == NO_DATA && axes[2] == NO_DATA;
}

/* Packet structure 3: header, accelerometer, gyroscope, temperature, time. */
static void unpack(const uint8_t *packet, hc_imu_sample_t *sample) {
  for (size_t axis = 0; axis < 3; axis++) {
    sample->accel[axis] = big_endian(packet + 1 + 2 * axis);
    sample->gyro[axis] = big_endian(packet + 7 + 2 * axis);
  }
}

/* Which edge the oldest packet belongs to, counted back from the last one. */
static uint32_t edges_back(icm42688_t *imu, uint32_t edges, uint32_t packets) {
  uint32_t pending = edges - imu->edges_taken;
  if (packets == pending) {
    imu->late_visits = 0;
    return pending - 1U;
  }
  if (packets + 1U == pending && ++imu->late_visits < LATE_VISITS_MAX) {
    return pending - 1U; /* the newest sample has pulsed and is not yet in the FIFO */
  }
  /* Out of step: the newest packet is the last edge's. */
  imu->late_visits = 0;
  imu->edges_taken = edges - packets;
  return packets - 1U;
}

static size_t read_packets(icm42688_t *imu, uint64_t now_ns, size_t count, uint64_t first_t_ns,
                           hc_imu_sample_t *samples, uint64_t *t_ns) {
  size_t kept = 0;
  icm42688_bus_read(FIFO_DATA, imu->packets, count * ICM42688_PACKET_LEN);
  for (size_t i = 0; i < count; i++) {
    const uint8_t *packet = imu->packets + i * ICM42688_PACKET_LEN;
    if ((packet[0] & HEADER_KIND) != HEADER_ACCEL_AND_GYRO) {
      reset_fifo(imu, now_ns); /* what follows is out of step too */
      return kept;
    }
    imu->edges_taken++;
    imu->resets_in_a_row = 0;
    if (imu->edges_to_skip > 0) {
      imu->edges_to_skip--;
      continue;
    }
    uint64_t sample_t_ns = first_t_ns + (uint64_t)i * imu->period_ns;
    count_lost(imu, sample_t_ns);
    unpack(packet, &samples[kept]);
    if (no_data(samples[kept].accel) || no_data(samples[kept].gyro)) {
      imu->invalid++;
      continue;
    }
    t_ns[kept] = sample_t_ns;
    kept++;
  }
  if (kept > 0) {
    imu->temperature = (int8_t)imu->packets[(count - 1U) * ICM42688_PACKET_LEN + 13U];
  }
  return kept;
}

static size_t visit_fifo(icm42688_t *imu, uint64_t now_ns, hc_imu_sample_t *samples, uint64_t *t_ns) {
  uint8_t head[3]; /* INT_STATUS, then the count */
  uint32_t edges;
  uint64_t edge_t_ns;
  uint32_t tries = 0;
  do { /* again if a sample came meanwhile: count and edges are to be of the same moment */
    edges = last_edge(imu, &edge_t_ns);
    icm42688_bus_read(INT_STATUS, head, sizeof head);
  } while (edges != imu->edges && ++tries < TRIES_MAX);
  measure_period(imu, edges, edge_t_ns);
  uint32_t packets = ((uint32_t)head[1] << 8U | head[2]) / ICM42688_PACKET_LEN;
  if ((head[0] & STATUS_FIFO_FULL) != 0) {
    reset_fifo(imu, now_ns);
    return 0;
  }
  if (packets == 0) {
    /* Edges and no samples: give it three visits, then start the FIFO anew. */
    if (++imu->empty_visits >= EMPTY_VISITS_MAX) {
      reset_fifo(imu, now_ns);
    }
    /* Where that does not help, start the chip anew. */
    if (imu->resets_in_a_row >= RESETS_IN_A_ROW_MAX) {
      (void)icm42688_start(imu, imu->rate_hz, now_ns);
    }
    return 0;
  }
  imu->empty_visits = 0;
  uint64_t first_t_ns = edge_t_ns - (uint64_t)edges_back(imu, edges, packets) * imu->period_ns;
  return read_packets(imu, now_ns, packets < ICM42688_READ_MAX ? packets : ICM42688_READ_MAX, first_t_ns, samples, t_ns);
}

static void restart_if_quiet(icm42688_t *imu, uint64_t now_ns) {
  bool was_stuck = imu->state == handcap_SensorState_SENSOR_STATE_STUCK;
  if (now_ns - imu->quiet_since_t_ns < (was_stuck ? RETRY_NS : QUIET_NS)) {
    return;
  }
  imu->stuck += was_stuck ? 0 : 1;
  if (icm42688_start(imu, imu->rate_hz, now_ns)) {
    imu->state = handcap_SensorState_SENSOR_STATE_STUCK; /* until an edge comes */
  }
}

size_t icm42688_poll(icm42688_t *imu, uint64_t now_ns, hc_imu_sample_t *samples, uint64_t *t_ns) {
  uint64_t edge_t_ns;
  uint32_t edges = last_edge(imu, &edge_t_ns);
  if (!delivers(imu)) {
    if (now_ns - imu->quiet_since_t_ns >= RETRY_NS) {
      (void)icm42688_start(imu, imu->rate_hz, now_ns);
    }
    return 0;
  }
  if (edges == imu->edges_seen) {
    restart_if_quiet(imu, now_ns);
    return 0;
  }
  imu->edges_seen = edges;
  imu->quiet_since_t_ns = edge_t_ns;
  if (imu->state == handcap_SensorState_SENSOR_STATE_STUCK) {
    imu->state = delivering_state(imu);
  }
  if (edges - imu->edges_taken < watermark(imu->rate_hz)) {
    return 0;
  }
  return visit_fifo(imu, now_ns, samples, t_ns);
}

float icm42688_temperature_c(const icm42688_t *imu) {
  return (float)imu->temperature / 2.07F + 25.0F;
}

void icm42688_describe(const icm42688_t *imu, handcap_Sensor *sensor) {
  static const char model[] = "ICM-42688-P";
  sensor->kind = handcap_SensorKind_SENSOR_KIND_IMU;
  memcpy(sensor->model, model, sizeof model);
  sensor->state = imu->state;
  sensor->identity = imu->identity;
  sensor->rate_hz = imu->rate_hz;
  sensor->gyro_range_rad_s = ICM42688_GYRO_RANGE_RAD_S;
  sensor->accel_range_m_s2 = ICM42688_ACCEL_RANGE_M_S2;
}
