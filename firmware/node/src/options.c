#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "version.h"

static const char help[] =
    "handcap-node: send a camera's pictures, and an inertial sensor's samples, to handcap over TCP.\n"
    "\n"
    "  --device PATH     V4L2 camera (/dev/video0)\n"
    "  --source PATH     instead of a camera: JPEGs end to end in a file, or a folder of .jpg, over and over\n"
    "  --once            a source's end is the end\n"
    "  --size WxH        (640x480)          --rate HZ        (30)\n"
    "  --format WHICH    auto, mjpeg, h264 or raw (auto: the first of these that the camera has)\n"
    "  --quality N       of the JPEG made from raw pictures, 1 to 100 (85)\n"
    "  --control N=V     set a camera control, as v4l2-ctl spells it; may be repeated\n"
    "  --name NAME       which camera of the rig this is: head, head_left, head_right, left, right (head)\n"
    "  --bind ADDRESS    where to listen (127.0.0.1)          --port N     (7047; 0: any)\n"
    "  --buffer-mib N    pictures kept while nobody reads, then the oldest are dropped (128)\n"
    "  --imu WHICH       auto, none, or the IIO device's name (auto)\n"
    "  --iio-root PATH   where /sys and /dev of the inertial sensor lie (/)\n"
    "  --uid HEX         16 digits; else made from this machine's id and --name\n"
    "  --version, --help\n";

enum {
  DEVICE = 1,
  SOURCE,
  ONCE,
  SIZE,
  RATE,
  FORMAT,
  QUALITY,
  CONTROL,
  NAME,
  BIND,
  PORT,
  BUFFER,
  IMU,
  IIO_ROOT,
  UID,
  VERSION,
  HELP
};

static const struct option known[] = {
    {"device", required_argument, NULL, DEVICE},
    {"source", required_argument, NULL, SOURCE},
    {"once", no_argument, NULL, ONCE},
    {"size", required_argument, NULL, SIZE},
    {"rate", required_argument, NULL, RATE},
    {"format", required_argument, NULL, FORMAT},
    {"quality", required_argument, NULL, QUALITY},
    {"control", required_argument, NULL, CONTROL},
    {"name", required_argument, NULL, NAME},
    {"bind", required_argument, NULL, BIND},
    {"port", required_argument, NULL, PORT},
    {"buffer-mib", required_argument, NULL, BUFFER},
    {"imu", required_argument, NULL, IMU},
    {"iio-root", required_argument, NULL, IIO_ROOT},
    {"uid", required_argument, NULL, UID},
    {"version", no_argument, NULL, VERSION},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static bool wrong(const char *option, const char *value, const char *wants) {
  fprintf(stderr, "handcap-node: --%s %s: wants %s\n", option, value, wants);
  return false;
}

static bool whole_number(const char *text, int base, uint64_t least, uint64_t most, uint64_t *value) {
  char *end = NULL;
  if (strchr(text, '-') != NULL) {
    return false;
  }
  errno = 0;
  *value = strtoull(text, &end, base);
  return errno == 0 && end != text && *end == '\0' && *value >= least && *value <= most;
}

static bool parse_size(v4l2_options_t *camera, const char *text) {
  unsigned width = 0, height = 0;
  char more = 0;
  bool two = sscanf(text, "%5ux%5u%c", &width, &height, &more) == 2;
  if (!two || width < 2 || height < 2 || width > 16384 || height > 16384) {
    return wrong("size", text, "width x height, as 1280x720");
  }
  camera->width = width;
  camera->height = height;
  return true;
}

static bool parse_rate(v4l2_options_t *camera, const char *text) {
  char *end = NULL;
  camera->rate_hz = strtod(text, &end);
  if (end != text && *end == '\0' && camera->rate_hz >= 0.1 && camera->rate_hz <= 1000.0) {
    return true;
  }
  return wrong("rate", text, "0.1 to 1000 Hz");
}

static bool parse_format(v4l2_options_t *camera, const char *text) {
  static const char *const names[] = {"auto", "mjpeg", "h264", "raw"};
  static const wanted_format_t formats[] = {WANT_ANY, WANT_MJPEG, WANT_H264, WANT_RAW};
  for (size_t i = 0; i < 4; i++) {
    if (strcmp(text, names[i]) == 0) {
      camera->format = formats[i];
      return true;
    }
  }
  return wrong("format", text, "auto, mjpeg, h264 or raw");
}

static bool parse_control(v4l2_options_t *camera, const char *text) {
  if (strchr(text, '=') == NULL) {
    return wrong("control", text, "name=number");
  }
  if (camera->control_count == V4L2_CONTROLS_MAX) {
    return wrong("control", text, "no more than 16 of them");
  }
  camera->controls[camera->control_count++] = text;
  return true;
}

static bool parse_name(options_t *options, const char *text) {
  if (text[0] == '\0' || strlen(text) > 31) {
    return wrong("name", text, "1 to 31 letters");
  }
  options->name = text;
  return true;
}

static bool take(options_t *options, int which, const char *text) {
  uint64_t value = 0;
  switch (which) {
    case DEVICE:
      options->camera.device = text;
      return true;
    case SOURCE:
      options->source = text;
      return true;
    case ONCE:
      options->once = true;
      return true;
    case SIZE:
      return parse_size(&options->camera, text);
    case RATE:
      return parse_rate(&options->camera, text);
    case FORMAT:
      return parse_format(&options->camera, text);
    case CONTROL:
      return parse_control(&options->camera, text);
    case NAME:
      return parse_name(options, text);
    case BIND:
      options->bind = text;
      return true;
    case IMU:
      options->imu = text;
      return true;
    case IIO_ROOT:
      options->iio_root = text;
      return true;
    case QUALITY:
      if (!whole_number(text, 10, 1, 100, &value)) {
        return wrong("quality", text, "1 to 100");
      }
      options->camera.jpeg_quality = (int)value;
      return true;
    case PORT:
      if (!whole_number(text, 10, 0, 65535, &value)) {
        return wrong("port", text, "0 to 65535");
      }
      options->port = (uint16_t)value;
      return true;
    case BUFFER:
      if (!whole_number(text, 10, 1, 65536, &value)) {
        return wrong("buffer-mib", text, "1 to 65536");
      }
      options->buffer_mib = (uint32_t)value;
      return true;
    case UID:
      if (strlen(text) != 16 || !whole_number(text, 16, 1, UINT64_MAX, &value)) {
        return wrong("uid", text, "16 hex digits");
      }
      options->uid = value;
      return true;
    default:
      return false; /* getopt has said why */
  }
}

options_result_t options_parse(options_t *options, int count, char **arguments) {
  *options =
      (options_t){.name = "head", .bind = "127.0.0.1", .port = 7047, .buffer_mib = 128, .imu = "auto", .iio_root = ""};
  options->camera =
      (v4l2_options_t){.device = "/dev/video0", .width = 640, .height = 480, .rate_hz = 30.0, .jpeg_quality = 85};
  int which;
  while ((which = getopt_long(count, arguments, "", known, NULL)) != -1) {
    if (which == HELP || which == VERSION) {
      fputs(which == HELP ? help : "handcap-node " HC_VERSION " " HC_GIT_HASH "\n", stdout);
      return OPTIONS_DONE;
    }
    if (!take(options, which, optarg)) {
      return OPTIONS_WRONG;
    }
  }
  if (optind == count) {
    return OPTIONS_RUN;
  }
  fprintf(stderr, "handcap-node: %s: not an option; --help lists them\n", arguments[optind]);
  return OPTIONS_WRONG;
}
