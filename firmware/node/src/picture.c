#include "picture.h"

#include <stdlib.h>
#include <string.h>

picture_t *picture_new(const uint8_t *data, size_t size) {
  if (size == 0 || size > PICTURE_BYTES_MAX) {
    return NULL;
  }
  picture_t *picture = malloc(sizeof *picture + size);
  if (picture == NULL) {
    return NULL;
  }
  memset(picture, 0, sizeof *picture);
  memcpy(picture->data, data, size);
  picture->size = size;
  picture->key = true;
  return picture;
}
