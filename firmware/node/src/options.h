/* The command line. */
#ifndef HC_NODE_OPTIONS_H
#define HC_NODE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "v4l2.h"

typedef struct {
  const char *source; /* file or folder; null for a camera */
  bool once;
  v4l2_options_t camera; /* its size and rate also pace a file */
  const char *name;
  const char *bind;
  uint16_t port;
  uint32_t buffer_mib;
  const char *imu; /* "auto", "none" or a name */
  const char *iio_root;
  uint64_t uid; /* 0: of the machine */
} options_t;

typedef enum { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG } options_result_t;

/* Says on stderr what is wrong, and on stdout what was asked for. */
options_result_t options_parse(options_t *options, int count, char **arguments);

#endif
