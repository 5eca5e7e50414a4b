#include "jpeg_scan.h"

/* Markers of ITU-T T.81, table B.1. */
enum { SOI = 0xd8, EOI = 0xd9, SOS = 0xda, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, RST0 = 0xd0, RST7 = 0xd7, TEM = 0x01 };

static bool is_frame_header(uint8_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != DHT && marker != JPG && marker != DAC;
}

static bool stands_alone(uint8_t marker) { return (marker >= RST0 && marker <= RST7) || marker == TEM; }

/* The next marker at or after `at` within entropy-coded data, where 0xff is followed by a zero or a restart. */
static size_t skip_coded_data(const uint8_t *data, size_t size, size_t at) {
  while (at + 1 < size) {
    bool marker = data[at] == 0xff && data[at + 1] != 0 && data[at + 1] != 0xff;
    if (marker && !stands_alone(data[at + 1])) return at;
    at++;
  }
  return size;
}

bool jpeg_scan(const uint8_t *data, size_t size, jpeg_extent_t *extent) {
  *extent = (jpeg_extent_t){0};
  if (size < 4 || data[0] != 0xff || data[1] != SOI) return false;
  size_t at = 2;
  while (at + 1 < size) {
    if (data[at] != 0xff) return false;
    uint8_t marker = data[at + 1];
    if (marker == 0xff) { /* fill byte */
      at++;
      continue;
    }
    at += 2;
    if (marker == EOI) {
      extent->size = at;
      return extent->width > 0 && extent->height > 0;
    }
    if (stands_alone(marker)) continue;
    if (at + 2 > size) return false;
    size_t length = (size_t)data[at] << 8 | data[at + 1];
    if (length < 2 || length > size - at) return false;
    if (is_frame_header(marker)) {
      if (length < 8) return false;
      extent->height = (uint32_t)data[at + 3] << 8 | data[at + 4];
      extent->width = (uint32_t)data[at + 5] << 8 | data[at + 6];
    }
    at += length;
    if (marker == SOS) at = skip_coded_data(data, size, at);
  }
  return false;
}
