/* JPEG for cameras that give raw pictures only. */
#ifndef HC_NODE_JPEG_ENCODE_H
#define HC_NODE_JPEG_ENCODE_H

#include <stdbool.h>

#include "picture.h"

typedef enum { RAW_YUYV, RAW_GREY } raw_kind_t;

typedef struct {
  raw_kind_t kind;
  uint32_t width, height;
  size_t stride;      /* bytes from one row to the next */
  bool limited_range; /* black is 16 and white is 235, as most cameras give it; JPEG wants 0 and 255 */
  int quality;        /* 1 .. 100 */
} raw_format_t;

/* Null where the data are too short for the format, or memory is. */
picture_t *jpeg_encode(const raw_format_t *format, const uint8_t *data, size_t size);

#endif
