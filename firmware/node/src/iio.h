/* An inertial sensor of the kernel's Industrial I/O subsystem, read through its buffer. */
#ifndef HC_NODE_IIO_H
#define HC_NODE_IIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "imu.h"

#define IIO_PATH 512
#define IIO_CHANNELS 7 /* three rates, three forces, the time */
#define IIO_SCAN_MAX 128

typedef struct {
  uint32_t index, bits, storage_bytes, shift;
  bool big_endian;
  size_t at; /* in the scan */
} iio_channel_t;

typedef struct {
  char folder[IIO_PATH];  /* of the device in sysfs */
  char node[IIO_PATH];    /* /dev/iio:device0 */
  char model[32];
  double rate_hz;         /* 0 where the driver does not say */
  double gyro_scale, accel_scale; /* rad/s and m/s^2 of one count */
  iio_channel_t channels[IIO_CHANNELS];
  size_t scan_bytes;
  int fd;
  uint8_t rest[IIO_SCAN_MAX]; /* of a scan that came in part */
  size_t rest_bytes;
  char problem[200];
} iio_t;

typedef enum { IIO_NONE, IIO_FOUND, IIO_UNFIT } iio_found_t;

/* The first device below `root` (empty, or where a copy of /sys and /dev lies) that has both a gyroscope and an
 * accelerometer, or the one called `name` where that is not null. UNFIT has its reason in `problem`. */
iio_found_t iio_find(iio_t *iio, const char *root, const char *name);

bool iio_start(iio_t *iio);
void iio_stop(iio_t *iio);

/* Move what has come into the queue. False where the device is gone. */
bool iio_read(iio_t *iio, imu_queue_t *queue);

#endif
