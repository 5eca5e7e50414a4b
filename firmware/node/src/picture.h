/* One whole picture as the camera gave it. */
#ifndef HC_NODE_PICTURE_H
#define HC_NODE_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The wire's limit for one framed message is 16 MiB; the rest is for the envelope and the framing. */
#define PICTURE_BYTES_MAX ((size_t)16 * 1024 * 1024 - (size_t)256 * 1024)

typedef enum { ENCODING_MJPEG, ENCODING_H264 } encoding_t;

typedef struct picture {
  struct picture *next;
  uint64_t capture_t_ns; /* CLOCK_MONOTONIC */
  uint64_t sent_end;     /* of the link's bytes, where its message ended */
  uint32_t frame;        /* the driver's count */
  uint32_t width, height;
  encoding_t encoding;
  bool key;                   /* decodes without an earlier picture */
  bool stamp_at_exposure_start; /* else at the end of the frame, or not known */
  size_t size;
  uint8_t data[];
} picture_t;

/* A copy of `size` bytes; null where memory is short or there are none, or too many. Freed with free(). */
picture_t *picture_new(const uint8_t *data, size_t size);

#endif
