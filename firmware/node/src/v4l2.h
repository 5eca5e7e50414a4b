/* A V4L2 camera, memory-mapped: MJPEG or H.264 as the device gives it, else raw pictures made into JPEG here. */
#ifndef HC_NODE_V4L2_H
#define HC_NODE_V4L2_H

#include <stddef.h>
#include <stdint.h>

#include "source.h"

#define V4L2_CONTROLS_MAX 16

typedef enum { WANT_ANY, WANT_MJPEG, WANT_H264, WANT_RAW } wanted_format_t;

typedef struct {
  const char *device; /* /dev/video0 */
  uint32_t width, height;
  double rate_hz;
  wanted_format_t format;
  int jpeg_quality; /* for raw pictures */
  const char *controls[V4L2_CONTROLS_MAX]; /* name=value, set before streaming */
  int control_count;
} v4l2_options_t;

/* Null with the reason in `problem`. The options must outlive the source. */
source_t *v4l2_open(const v4l2_options_t *options, char *problem, size_t problem_size);

#endif
