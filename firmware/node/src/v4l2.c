#include "v4l2.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/videodev2.h>

#include "clock.h"
#include "h264_scan.h"
#include "jpeg_encode.h"
#include "jpeg_scan.h"

#define BUFFERS 8       /* a quarter of a second at 30 Hz, for a reader that is held up */
#define PATIENCE_MS 500 /* between looks at whether to stop */
#define STUCK_AFTER 6   /* as many times without a picture: start the stream anew */

typedef struct {
  uint8_t *bytes;
  size_t size;
} buffer_t;

typedef struct {
  source_t base;
  const v4l2_options_t *options;
  int fd;
  uint32_t fourcc;
  raw_format_t raw;
  uint32_t width, height;
  buffer_t buffers[BUFFERS];
  uint32_t buffer_count;
  uint32_t frame_base; /* the driver counts from 0 at each start; we go on */
  uint32_t frame_next;
  int waits;
} v4l2_t;

static int control_fd(int fd, unsigned long request, void *argument) {
  int result;
  do {
    result = ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

__attribute__((format(printf, 2, 3))) static bool fail(v4l2_t *camera, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(camera->base.problem, sizeof camera->base.problem, format, arguments);
  va_end(arguments);
  return false;
}

static bool is_mjpeg(uint32_t fourcc) {
  return fourcc == V4L2_PIX_FMT_MJPEG || fourcc == V4L2_PIX_FMT_JPEG;
}

static bool is_raw(uint32_t fourcc) {
  return fourcc == V4L2_PIX_FMT_YUYV || fourcc == V4L2_PIX_FMT_GREY;
}

static bool is_wanted(wanted_format_t wanted, uint32_t fourcc) {
  switch (wanted) {
    case WANT_MJPEG:
      return is_mjpeg(fourcc);
    case WANT_H264:
      return fourcc == V4L2_PIX_FMT_H264;
    case WANT_RAW:
      return is_raw(fourcc);
    case WANT_ANY:
      return is_mjpeg(fourcc) || fourcc == V4L2_PIX_FMT_H264 || is_raw(fourcc);
  }
  return false;
}

/* Of two that would do: each picture whole by itself before H.264, and anything compressed before raw. */
static int worth(uint32_t fourcc) {
  if (is_mjpeg(fourcc)) {
    return 3;
  }
  if (fourcc == V4L2_PIX_FMT_H264) {
    return 2;
  }
  return is_raw(fourcc) ? 1 : 0;
}

static bool choose_format(v4l2_t *camera) {
  char offered[120] = "";
  camera->fourcc = 0;
  struct v4l2_fmtdesc description = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  for (; control_fd(camera->fd, VIDIOC_ENUM_FMT, &description) == 0; description.index++) {
    uint32_t fourcc = description.pixelformat;
    size_t length = strlen(offered);
    snprintf(offered + length, sizeof offered - length, " %.4s", (const char *)&fourcc);
    if (is_wanted(camera->options->format, fourcc) && worth(fourcc) > worth(camera->fourcc)) {
      camera->fourcc = fourcc;
    }
  }
  if (camera->fourcc != 0) {
    return true;
  }
  return fail(camera, "%s gives%s: none that is wanted; MJPG, H264, YUYV and GREY can be sent", camera->options->device,
              offered);
}

static bool set_format(v4l2_t *camera) {
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  format.fmt.pix.width = camera->options->width;
  format.fmt.pix.height = camera->options->height;
  format.fmt.pix.pixelformat = camera->fourcc;
  format.fmt.pix.field = V4L2_FIELD_NONE;
  if (control_fd(camera->fd, VIDIOC_S_FMT, &format) != 0) {
    return fail(camera, "%s refuses its own format: %s", camera->options->device, strerror(errno));
  }
  const struct v4l2_pix_format *got = &format.fmt.pix;
  if (got->pixelformat != camera->fourcc) {
    return fail(camera, "%s changed the format", camera->options->device);
  }
  if (got->width != camera->options->width || got->height != camera->options->height) {
    return fail(camera, "%s has no %ux%u; nearest is %ux%u: give --size %ux%u", camera->options->device,
                camera->options->width, camera->options->height, got->width, got->height, got->width, got->height);
  }
  camera->width = got->width;
  camera->height = got->height;
  camera->raw = (raw_format_t){
      .kind = camera->fourcc == V4L2_PIX_FMT_GREY ? RAW_GREY : RAW_YUYV,
      .width = got->width,
      .height = got->height,
      .stride = got->bytesperline,
      .limited_range = camera->fourcc != V4L2_PIX_FMT_GREY && got->quantization != V4L2_QUANTIZATION_FULL_RANGE,
      .quality = camera->options->jpeg_quality};
  return true;
}

static void set_rate(v4l2_t *camera) {
  struct v4l2_streamparm parameters = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  struct v4l2_fract *period = &parameters.parm.capture.timeperframe;
  period->numerator = 1000;
  period->denominator = (uint32_t)(camera->options->rate_hz * 1000.0 + 0.5);
  camera->base.rate_hz = 0.0; /* unknown where the driver does not say */
  if (control_fd(camera->fd, VIDIOC_S_PARM, &parameters) == 0 && period->numerator > 0) {
    camera->base.rate_hz = (double)period->denominator / (double)period->numerator;
  }
}

/* A control's name as v4l2-ctl spells it: lower case, with "_" for all that is no letter or digit. */
static bool is_named(const char *shown, const char *wanted, size_t wanted_length) {
  size_t at = 0;
  for (; *shown != '\0'; shown++) {
    bool plain = isalnum((unsigned char)*shown) != 0;
    if (!plain && (at == 0 || wanted[at - 1] == '_')) {
      continue;
    }
    int spelt = plain ? tolower((unsigned char)*shown) : '_';
    if (at >= wanted_length || (unsigned char)wanted[at] != spelt) {
      return !plain && at == wanted_length;
    }
    at++;
  }
  return at == wanted_length;
}

static bool set_control(v4l2_t *camera, const char *assignment) {
  const char *equals = strchr(assignment, '=');
  char *end = NULL;
  long value = equals == NULL ? 0 : strtol(equals + 1, &end, 0);
  if (equals == NULL || end == equals + 1 || *end != '\0') {
    return fail(camera, "%s: not name=number", assignment);
  }
  struct v4l2_queryctrl control = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
  for (; control_fd(camera->fd, VIDIOC_QUERYCTRL, &control) == 0; control.id |= V4L2_CTRL_FLAG_NEXT_CTRL) {
    if (!is_named((const char *)control.name, assignment, (size_t)(equals - assignment))) {
      continue;
    }
    struct v4l2_control setting = {.id = control.id, .value = (int32_t)value};
    if (control_fd(camera->fd, VIDIOC_S_CTRL, &setting) == 0) {
      return true;
    }
    return fail(camera, "%s refuses %s: %s; it takes %d to %d", camera->options->device, assignment, strerror(errno),
                control.minimum, control.maximum);
  }
  return fail(camera, "%s has no control named in %s; `v4l2-ctl -l` lists what it has", camera->options->device,
              assignment);
}

/* Decoders can only begin where the parameter sets are; not every encoder has the switch. */
static void repeat_parameter_sets(const v4l2_t *camera) {
  struct v4l2_control setting = {.id = V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, .value = 1};
  if (camera->fourcc == V4L2_PIX_FMT_H264) {
    control_fd(camera->fd, VIDIOC_S_CTRL, &setting);
  }
}

static bool queue_buffer(const v4l2_t *camera, uint32_t index) {
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP, .index = index};
  return control_fd(camera->fd, VIDIOC_QBUF, &buffer) == 0;
}

static bool map_buffers(v4l2_t *camera) {
  struct v4l2_requestbuffers request = {
      .count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  if (control_fd(camera->fd, VIDIOC_REQBUFS, &request) != 0 || request.count < 2) {
    return fail(camera, "%s gives no mapped buffers: %s", camera->options->device, strerror(errno));
  }
  for (uint32_t index = 0; index < request.count && index < BUFFERS; index++) {
    struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP, .index = index};
    if (control_fd(camera->fd, VIDIOC_QUERYBUF, &buffer) != 0) {
      return fail(camera, "buffers: %s", strerror(errno));
    }
    void *bytes = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, camera->fd, (off_t)buffer.m.offset);
    if (bytes == MAP_FAILED) {
      return fail(camera, "buffers: %s", strerror(errno));
    }
    camera->buffers[index] = (buffer_t){bytes, buffer.length};
    camera->buffer_count = index + 1;
    if (!queue_buffer(camera, index)) {
      return fail(camera, "buffers: %s", strerror(errno));
    }
  }
  return true;
}

static void release(v4l2_t *camera) {
  if (camera->fd < 0) {
    return;
  }
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  control_fd(camera->fd, VIDIOC_STREAMOFF, &type);
  for (uint32_t index = 0; index < camera->buffer_count; index++) {
    munmap(camera->buffers[index].bytes, camera->buffers[index].size);
  }
  camera->buffer_count = 0;
  close(camera->fd);
  camera->fd = -1;
}

static bool check_device(v4l2_t *camera) {
  struct v4l2_capability about = {0};
  if (control_fd(camera->fd, VIDIOC_QUERYCAP, &about) != 0) {
    return fail(camera, "%s is not a V4L2 device", camera->options->device);
  }
  snprintf(camera->base.model, sizeof camera->base.model, "%.31s", (const char *)about.card);
  uint32_t can = about.capabilities & V4L2_CAP_DEVICE_CAPS ? about.device_caps : about.capabilities;
  if (!(can & V4L2_CAP_VIDEO_CAPTURE)) {
    const char *why = can & V4L2_CAP_VIDEO_CAPTURE_MPLANE ? "only has the multi-planar interface, which handcap-node "
                                                            "does not speak"
                                                          : "is no camera (metadata or output)";
    return fail(camera, "%s %s; `v4l2-ctl --list-devices` lists the others", camera->options->device, why);
  }
  if (!(can & V4L2_CAP_STREAMING)) {
    return fail(camera, "%s cannot map its buffers", camera->options->device);
  }
  return true;
}

static bool configure(v4l2_t *camera) {
  camera->fd = open(camera->options->device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (camera->fd < 0) {
    return fail(camera, "%s: %s", camera->options->device, strerror(errno));
  }
  if (!check_device(camera) || !choose_format(camera) || !set_format(camera)) {
    return false;
  }
  set_rate(camera);
  for (int i = 0; i < camera->options->control_count; i++) {
    if (!set_control(camera, camera->options->controls[i])) {
      return false;
    }
  }
  repeat_parameter_sets(camera);
  return true;
}

static bool v4l2_start(source_t *source) {
  v4l2_t *camera = (v4l2_t *)source;
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  camera->frame_base = camera->frame_next;
  camera->waits = 0;
  if ((camera->fd >= 0 || configure(camera)) && map_buffers(camera)) {
    if (control_fd(camera->fd, VIDIOC_STREAMON, &type) == 0) {
      return true;
    }
    fail(camera, "%s does not start: %s", camera->options->device, strerror(errno));
  }
  release(camera);
  return false;
}

static void v4l2_stop(source_t *source) {
  release((v4l2_t *)source);
}

static picture_t *picture_of(v4l2_t *camera, const uint8_t *data, size_t size) {
  if (is_raw(camera->fourcc)) {
    return jpeg_encode(&camera->raw, data, size);
  }
  bool jpeg = is_mjpeg(camera->fourcc);
  jpeg_extent_t extent;
  /* Drivers pad, and a cut picture may not carry their mark: what has no end is not sent. */
  if (jpeg && !jpeg_scan(data, size, &extent)) {
    return NULL;
  }
  if (!jpeg && !h264_is_annex_b(data, size)) {
    return NULL;
  }
  picture_t *picture = picture_new(data, jpeg ? extent.size : size);
  if (picture == NULL) {
    return NULL;
  }
  picture->encoding = jpeg ? ENCODING_MJPEG : ENCODING_H264;
  picture->key = jpeg || h264_is_key(data, size);
  picture->width = camera->width;
  picture->height = camera->height;
  return picture;
}

static source_result_t take(v4l2_t *camera, const struct v4l2_buffer *buffer, picture_t **picture) {
  uint32_t frame = camera->frame_base + buffer->sequence;
  camera->frame_next = frame + 1;
  const buffer_t *mapped = &camera->buffers[buffer->index];
  size_t used = buffer->bytesused < mapped->size ? buffer->bytesused : mapped->size;
  *picture = buffer->flags & V4L2_BUF_FLAG_ERROR ? NULL : picture_of(camera, mapped->bytes, used);
  if (*picture == NULL) {
    fail(camera, "picture %u came damaged", frame);
    return SOURCE_DAMAGED;
  }
  bool monotonic = (buffer->flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
  uint64_t t_ns = (uint64_t)buffer->timestamp.tv_sec * NS_PER_S + (uint64_t)buffer->timestamp.tv_usec * 1000U;
  (*picture)->frame = frame;
  (*picture)->capture_t_ns = monotonic ? t_ns : clock_now_ns();
  (*picture)->stamp_at_exposure_start =
      monotonic && (buffer->flags & V4L2_BUF_FLAG_TSTAMP_SRC_MASK) == V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
  return SOURCE_PICTURE;
}

static source_result_t v4l2_next(source_t *source, picture_t **picture) {
  v4l2_t *camera = (v4l2_t *)source;
  struct pollfd waiting = {.fd = camera->fd, .events = POLLIN};
  int ready = poll(&waiting, 1, PATIENCE_MS);
  if (ready < 0 && errno == EINTR) {
    return SOURCE_NOTHING;
  }
  if (ready == 0) {
    if (++camera->waits < STUCK_AFTER) {
      return SOURCE_NOTHING;
    }
    fail(camera, "%s gives no pictures", camera->options->device);
    return SOURCE_GONE;
  }
  struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  if (control_fd(camera->fd, VIDIOC_DQBUF, &buffer) != 0) {
    if (errno == EAGAIN) {
      return SOURCE_NOTHING;
    }
    fail(camera, "%s is gone: %s", camera->options->device, strerror(errno));
    return SOURCE_GONE;
  }
  camera->waits = 0;
  source_result_t result = take(camera, &buffer, picture);
  if (queue_buffer(camera, buffer.index)) {
    return result;
  }
  if (result == SOURCE_PICTURE) {
    free(*picture);
  }
  *picture = NULL;
  fail(camera, "%s is gone: %s", camera->options->device, strerror(errno));
  return SOURCE_GONE;
}

static void v4l2_close(source_t *source) {
  release((v4l2_t *)source);
  free(source);
}

source_t *v4l2_open(const v4l2_options_t *options, char *problem, size_t problem_size) {
  v4l2_t *camera = calloc(1, sizeof *camera);
  if (camera == NULL) {
    return NULL;
  }
  camera->fd = -1;
  camera->options = options;
  camera->base = (source_t){.start = v4l2_start, .stop = v4l2_stop, .next = v4l2_next, .close = v4l2_close};
  bool well = configure(camera);
  release(camera); /* kept only while streaming, so that others may look at it */
  if (well) {
    return &camera->base;
  }
  snprintf(problem, problem_size, "%s", camera->base.problem);
  v4l2_close(&camera->base);
  return NULL;
}
