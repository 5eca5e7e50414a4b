#include "jpeg_scan.h"

/* Markers of ITU-T T.81, table B.1. */
enum { SOI = 0xd8, EOI = 0xd9, SOS = 0xda, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, RST0 = 0xd0, RST7 = 0xd7, TEM = 0x01 };

static bool is_frame_header(uint8_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != DHT && marker != JPG && marker != DAC;
}

static bool stands_alone(uint8_t marker) {
  return (marker >= RST0 && marker <= RST7) || marker == TEM;
}

/* The next marker at or after `at` within entropy-coded data, where 0xff is followed by a zero or a restart. */
static size_t skip_coded_data(const uint8_t *data, size_t size, size_t at) {
  while (at + 1 < size) {
    bool marker = data[at] == 0xff && data[at + 1] != 0 && data[at + 1] != 0xff;
    if (marker && !stands_alone(data[at + 1])) {
      return at;
    }
    at++;
  }
  return size;
}

/* Where the segment ends whose length stands at `at`; 0 where it is cut off or lies. */
static size_t skip_segment(const uint8_t *data, size_t size, size_t at, uint8_t marker, jpeg_extent_t *extent) {
  if (at + 2 > size) {
    return 0;
  }
  size_t length = (size_t)data[at] << 8 | data[at + 1];
  if (length < 2 || length > size - at) {
    return 0;
  }
  if (is_frame_header(marker)) {
    if (length < 8) {
      return 0;
    }
    extent->height = (uint32_t)data[at + 3] << 8 | data[at + 4];
    extent->width = (uint32_t)data[at + 5] << 8 | data[at + 6];
  }
  at += length;
  return marker == SOS ? skip_coded_data(data, size, at) : at;
}

bool jpeg_scan(const uint8_t *data, size_t size, jpeg_extent_t *extent) {
  *extent = (jpeg_extent_t){0};
  if (size < 4 || data[0] != 0xff || data[1] != SOI) {
    return false;
  }
  size_t at = 2;
  while (at != 0 && at + 1 < size && data[at] == 0xff) {
    uint8_t marker = data[at + 1];
    if (marker == EOI) {
      extent->size = at + 2;
      return extent->width > 0 && extent->height > 0;
    }
    if (marker == 0xff) { /* a fill byte */
      at++;
    } else if (stands_alone(marker)) {
      at += 2;
    } else {
      at = skip_segment(data, size, at + 2, marker, extent);
    }
  }
  return false;
}
