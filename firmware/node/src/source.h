/* Where pictures come from: a V4L2 camera, or files. */
#ifndef HC_NODE_SOURCE_H
#define HC_NODE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "picture.h"

typedef enum {
  SOURCE_PICTURE, /* here is one */
  SOURCE_NOTHING, /* none in half a second; ask again */
  SOURCE_DAMAGED, /* the driver marked one as broken, or it is no picture: not sent, its number is missing */
  SOURCE_ENDED,   /* the file is at its end */
  SOURCE_GONE     /* the camera was unplugged, or does not obey: start anew */
} source_result_t;

typedef struct source source_t;

struct source {
  char model[32];
  double rate_hz;
  char problem[200]; /* what went wrong last, for people */
  bool (*start)(source_t *source);
  void (*stop)(source_t *source);
  source_result_t (*next)(source_t *source, picture_t **picture);
  void (*close)(source_t *source);
};

#endif
