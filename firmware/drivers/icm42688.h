/* ICM-42688-P inertial sensor over SPI. Register numbers: TDK DS-000347 rev 1.6, bank 0 unless said otherwise.
 * INT1 pulses at each sample and is stamped in its interrupt; the samples wait in the chip's FIFO, whose watermark says
 * how many are worth a visit. */
#ifndef ICM42688_H
#define ICM42688_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handcap.pb.h"
#include "hc_imu_queue.h"

/* The bus, supplied by the board or by a test's model of the chip. Chip select is held through each call. */
void icm42688_bus_read(uint8_t reg, uint8_t *bytes, size_t len);
void icm42688_bus_write(uint8_t reg, uint8_t value);
void icm42688_bus_wait_us(uint32_t us); /* keeps the watchdog fed */

#define ICM42688_PACKET_LEN 16U
#define ICM42688_READ_MAX 32U /* samples per visit */
#define ICM42688_GYRO_RANGE_RAD_S 34.906585039886591 /* 2000 degrees per second */
#define ICM42688_ACCEL_RANGE_M_S2 156.9064           /* 16 g of 9.80665 m/s^2 */
#define ICM42688_GYRO_SCALE (ICM42688_GYRO_RANGE_RAD_S / 32768.0)
#define ICM42688_ACCEL_SCALE (ICM42688_ACCEL_RANGE_M_S2 / 32768.0)

typedef struct {
  handcap_SensorState state;
  uint8_t identity; /* WHO_AM_I as read */
  bool self_test_failed;
  uint32_t rate_hz; /* as set */
  uint32_t period_ns; /* measured: the chip's own clock is off by up to 1 % */
  int8_t temperature; /* as the last sample had it */

  /* Since boot. */
  uint64_t sample_t_ns; /* of the last one that came; 0 before the first of a rate */
  uint32_t lost;        /* samples, told when the next one comes */
  uint32_t invalid;     /* samples that the chip marked as no data */
  uint32_t fifo_resets; /* stuck, overflowed or out of step */
  uint32_t stuck;       /* times the data-ready edge stayed away */

  /* The interrupt's: one edge per sample. */
  volatile uint32_t edges;
  volatile uint64_t edge_t_ns;

  uint32_t edges_seen;  /* at the last poll */
  uint32_t edges_taken; /* those whose sample was read or given up */
  uint32_t edges_to_skip; /* of the gyroscope's start-up: not to be trusted */
  uint32_t empty_visits, late_visits, resets_in_a_row;
  uint32_t window_edges; /* where the period's measurement began */
  uint64_t window_t_ns;
  uint64_t quiet_since_t_ns; /* the last edge, or the last attempt to start */
  uint8_t packets[ICM42688_READ_MAX * ICM42688_PACKET_LEN];
} icm42688_t;

/* Reset, check identity, set ranges and rate, read them back. Says whether samples will come; state says why not. */
bool icm42688_start(icm42688_t *imu, uint32_t rate_hz, uint64_t now_ns);

/* Let the chip push its own proof masses and compare the answer with what it gave at the factory (DS-000347, 13.59 and
 * the trims of banks 1 and 2). Takes a sixth of a second, for boot only, and wants icm42688_start before and after it. A
 * failure shows in `state`, and the samples come all the same: a rig that was shaken meanwhile may fail too. */
bool icm42688_self_test(icm42688_t *imu);

bool icm42688_set_rate(icm42688_t *imu, uint32_t rate_hz, uint64_t now_ns);

/* In the data-ready interrupt. */
void icm42688_edge(icm42688_t *imu, uint64_t t_ns);

/* Whatever is worth reading, each sample with its own time. Restarts a chip or a FIFO that is stuck. Returns how many
 * samples were put at `samples` and `t_ns`, which have room for ICM42688_READ_MAX. */
size_t icm42688_poll(icm42688_t *imu, uint64_t now_ns, hc_imu_sample_t *samples, uint64_t *t_ns);

/* Of the last sample. */
float icm42688_temperature_c(const icm42688_t *imu);

void icm42688_describe(const icm42688_t *imu, handcap_Sensor *sensor);

#endif
