#include "iio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SCANS "512"

static const char *const channel_names[IIO_CHANNELS] = {"in_anglvel_x", "in_anglvel_y", "in_anglvel_z", "in_accel_x",
                                                        "in_accel_y",   "in_accel_z",   "in_timestamp"};
enum { CHANNEL_TIME = 6 };

__attribute__((format(printf, 2, 3))) static bool fail(iio_t *iio, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(iio->problem, sizeof iio->problem, format, arguments);
  va_end(arguments);
  return false;
}

static bool attribute_path(char *path, const char *folder, const char *attribute) {
  return snprintf(path, IIO_PATH, "%s/%s", folder, attribute) < IIO_PATH;
}

static bool read_attribute(const char *folder, const char *attribute, char *text, size_t size) {
  char path[IIO_PATH];
  if (!attribute_path(path, folder, attribute)) {
    return false;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  ssize_t got = read(fd, text, size - 1);
  close(fd);
  if (got <= 0) {
    return false;
  }
  text[got] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return true;
}

static bool write_attribute(const char *folder, const char *attribute, const char *text) {
  char path[IIO_PATH];
  if (!attribute_path(path, folder, attribute)) {
    return false;
  }
  int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  ssize_t length = (ssize_t)strlen(text);
  bool well = write(fd, text, (size_t)length) == length;
  return close(fd) == 0 && well;
}

static bool has_attribute(const char *folder, const char *attribute) {
  char path[IIO_PATH];
  return attribute_path(path, folder, attribute) && access(path, F_OK) == 0;
}

/* Some drivers give a number for the device, some for a kind of channel, some for each axis. */
static double read_number(const char *folder, const char *first, const char *second, const char *third) {
  const char *names[] = {first, second, third};
  char text[64];
  for (size_t i = 0; i < 3; i++) {
    if (read_attribute(folder, names[i], text, sizeof text)) {
      return strtod(text, NULL);
    }
  }
  return 0.0;
}

/* "be:s16/16>>0": byte order, sign, bits that count, bits stored, shift. */
static bool parse_type(const char *text, iio_channel_t *channel) {
  char endian = 0, sign = 0;
  unsigned bits = 0, storage = 0, shift = 0;
  if (sscanf(text, "%ce:%c%u/%u>>%u", &endian, &sign, &bits, &storage, &shift) != 5) {
    return false;
  }
  bool sizes = storage == 8 || storage == 16 || storage == 32 || storage == 64;
  if ((endian != 'l' && endian != 'b') || sign != 's' || !sizes || bits == 0 || bits + shift > storage) {
    return false;
  }
  channel->big_endian = endian == 'b';
  channel->bits = bits;
  channel->storage_bytes = storage / 8;
  channel->shift = shift;
  return true;
}

static bool read_channel(iio_t *iio, int which) {
  char attribute[64], text[64];
  const char *name = channel_names[which];
  snprintf(attribute, sizeof attribute, "scan_elements/%s_type", name);
  if (!read_attribute(iio->folder, attribute, text, sizeof text)) {
    return fail(iio, "%s has no %s", iio->model, name);
  }
  if (!parse_type(text, &iio->channels[which])) {
    return fail(iio, "%s: %s has the type %.40s", iio->model, name, text);
  }
  if (which != CHANNEL_TIME && iio->channels[which].bits > 16) {
    return fail(iio, "%s: %s has %u bits, and the wire's counts have 16", iio->model, name, iio->channels[which].bits);
  }
  snprintf(attribute, sizeof attribute, "scan_elements/%s_index", name);
  if (!read_attribute(iio->folder, attribute, text, sizeof text)) {
    return fail(iio, "%s: %s", iio->model, attribute);
  }
  iio->channels[which].index = (uint32_t)strtoul(text, NULL, 10);
  return true;
}

static size_t round_up(size_t value, size_t step) {
  return (value + step - 1) / step * step;
}

/* Channels stand in the order of their index, each at a multiple of its own size, the whole of the largest. */
static bool lay_out_scan(iio_t *iio) {
  size_t at = 0, largest = 1;
  bool placed[IIO_CHANNELS] = {false};
  for (int turn = 0; turn < IIO_CHANNELS; turn++) {
    int next = -1;
    for (int which = 0; which < IIO_CHANNELS; which++) {
      if (!placed[which] && (next < 0 || iio->channels[which].index < iio->channels[next].index)) {
        next = which;
      }
    }
    size_t size = iio->channels[next].storage_bytes;
    iio->channels[next].at = round_up(at, size);
    at = iio->channels[next].at + size;
    if (size > largest) {
      largest = size;
    }
    placed[next] = true;
  }
  iio->scan_bytes = round_up(at, largest);
  return iio->scan_bytes <= IIO_SCAN_MAX || fail(iio, "%s: a scan of %zu bytes", iio->model, iio->scan_bytes);
}

static bool read_traits(iio_t *iio) {
  iio->rate_hz =
      read_number(iio->folder, "sampling_frequency", "in_anglvel_sampling_frequency", "in_accel_sampling_frequency");
  iio->gyro_scale = read_number(iio->folder, "in_anglvel_scale", "in_anglvel_x_scale", "scale");
  iio->accel_scale = read_number(iio->folder, "in_accel_scale", "in_accel_x_scale", "scale");
  if (!(iio->gyro_scale > 0.0) || !(iio->accel_scale > 0.0)) {
    return fail(iio, "%s: no scale", iio->model);
  }
  for (int which = 0; which < IIO_CHANNELS; which++) {
    if (!read_channel(iio, which)) {
      return false;
    }
  }
  return lay_out_scan(iio);
}

static bool is_inertial(iio_t *iio, const char *name) {
  if (!read_attribute(iio->folder, "name", iio->model, sizeof iio->model)) {
    return false;
  }
  if (name != NULL) {
    return strcmp(name, iio->model) == 0;
  }
  return has_attribute(iio->folder, "in_anglvel_x_raw") && has_attribute(iio->folder, "in_accel_x_raw");
}

iio_found_t iio_find(iio_t *iio, const char *root, const char *name) {
  memset(iio, 0, sizeof *iio);
  iio->fd = -1;
  char devices[IIO_PATH], nodes[IIO_PATH];
  if (!attribute_path(devices, root, "sys/bus/iio/devices") || !attribute_path(nodes, root, "dev")) {
    return IIO_NONE;
  }
  struct dirent **entries = NULL;
  int count = scandir(devices, &entries, NULL, alphasort);
  bool found = false;
  for (int i = 0; i < count; i++) {
    const char *entry = entries[i]->d_name;
    if (!found && strncmp(entry, "iio:device", 10) == 0) {
      found = attribute_path(iio->folder, devices, entry) && attribute_path(iio->node, nodes, entry) &&
              is_inertial(iio, name);
    }
    free(entries[i]);
  }
  free(entries);
  if (!found) {
    return IIO_NONE;
  }
  return read_traits(iio) ? IIO_FOUND : IIO_UNFIT;
}

/* Sensors with an interrupt of their own bring a trigger; those with a hardware FIFO need none. */
static void choose_trigger(const iio_t *iio) {
  char devices[IIO_PATH];
  snprintf(devices, sizeof devices, "%s", iio->folder);
  *strrchr(devices, '/') = '\0';
  DIR *folder = opendir(devices);
  if (folder == NULL) {
    return;
  }
  const struct dirent *entry;
  while ((entry = readdir(folder)) != NULL) {
    char trigger[IIO_PATH], name[64];
    if (strncmp(entry->d_name, "trigger", 7) != 0 || !attribute_path(trigger, devices, entry->d_name)) {
      continue;
    }
    if (!read_attribute(trigger, "name", name, sizeof name)) {
      continue;
    }
    if (strncmp(name, iio->model, strlen(iio->model)) == 0) {
      write_attribute(iio->folder, "trigger/current_trigger", name);
    }
  }
  closedir(folder);
}

static bool enable_channels(iio_t *iio) {
  for (int which = 0; which < IIO_CHANNELS; which++) {
    char attribute[64];
    snprintf(attribute, sizeof attribute, "scan_elements/%s_en", channel_names[which]);
    if (!write_attribute(iio->folder, attribute, "1")) {
      return fail(iio, "%s: %s: not writable", iio->model, attribute);
    }
  }
  return true;
}

bool iio_start(iio_t *iio) {
  iio->rest_bytes = 0;
  write_attribute(iio->folder, "buffer/enable", "0"); /* what a killed node may have left on */
  if (!write_attribute(iio->folder, "current_timestamp_clock", "monotonic")) {
    return fail(iio, "%s: its clock cannot be set to CLOCK_MONOTONIC", iio->model);
  }
  if (!enable_channels(iio)) {
    return false;
  }
  choose_trigger(iio);
  write_attribute(iio->folder, "buffer/length", BUFFER_SCANS);
  iio->fd = open(iio->node, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (iio->fd < 0) {
    return fail(iio, "%.100s: %s", iio->node, strerror(errno));
  }
  if (write_attribute(iio->folder, "buffer/enable", "1")) {
    return true;
  }
  iio_stop(iio);
  return fail(iio, "%s: its buffer does not start", iio->model);
}

void iio_stop(iio_t *iio) {
  if (iio->fd < 0) {
    return;
  }
  write_attribute(iio->folder, "buffer/enable", "0");
  close(iio->fd);
  iio->fd = -1;
}

static int64_t channel_value(const iio_channel_t *channel, const uint8_t *scan) {
  uint64_t value = 0;
  for (size_t i = 0; i < channel->storage_bytes; i++) {
    size_t place = channel->big_endian ? i : channel->storage_bytes - 1 - i;
    value = value << 8 | scan[channel->at + place];
  }
  value >>= channel->shift;
  if (channel->bits == 64) {
    return (int64_t)value;
  }
  uint64_t sign = 1ULL << (channel->bits - 1);
  value &= (sign << 1) - 1;
  return (int64_t)((value ^ sign) - sign);
}

static void push_scan(const iio_t *iio, const uint8_t *scan, imu_queue_t *queue) {
  imu_sample_t sample = {.t_ns = (uint64_t)channel_value(&iio->channels[CHANNEL_TIME], scan)};
  for (int axis = 0; axis < 3; axis++) {
    sample.gyro[axis] = (int16_t)channel_value(&iio->channels[axis], scan);
    sample.accel[axis] = (int16_t)channel_value(&iio->channels[3 + axis], scan);
  }
  imu_queue_push(queue, &sample);
}

bool iio_read(iio_t *iio, imu_queue_t *queue) {
  uint8_t bytes[IIO_SCAN_MAX + 4096];
  memcpy(bytes, iio->rest, iio->rest_bytes);
  size_t room = 4096 / iio->scan_bytes * iio->scan_bytes; /* the kernel gives whole scans only */
  ssize_t got = read(iio->fd, bytes + iio->rest_bytes, room);
  if (got < 0) {
    return errno == EAGAIN || errno == EINTR || fail(iio, "%s is gone: %s", iio->model, strerror(errno));
  }
  size_t count = iio->rest_bytes + (size_t)got, at = 0;
  for (; count - at >= iio->scan_bytes; at += iio->scan_bytes) {
    push_scan(iio, bytes + at, queue);
  }
  iio->rest_bytes = count - at;
  memcpy(iio->rest, bytes + at, iio->rest_bytes);
  return true;
}
