/* Where a JPEG ends and how big its picture is, from its markers alone. */
#ifndef HC_NODE_JPEG_SCAN_H
#define HC_NODE_JPEG_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  size_t size; /* bytes up to and with the end marker */
  uint32_t width, height;
} jpeg_extent_t;

/* False where no whole JPEG starts at data[0]. Pictures within a picture (thumbnails) are passed over. */
bool jpeg_scan(const uint8_t *data, size_t size, jpeg_extent_t *extent);

#endif
