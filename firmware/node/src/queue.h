/* Pictures that wait for a reader: bounded in bytes, and what does not fit goes out oldest first, whole, and counted.
 *
 * H.264 pictures need the ones before them, so there the gap is widened to the next key picture: what is left always
 * decodes. One thread pushes, another pops. */
#ifndef HC_NODE_QUEUE_H
#define HC_NODE_QUEUE_H

#include <pthread.h>

#include "picture.h"

typedef struct {
  pthread_mutex_t lock;
  picture_t *oldest, *newest;
  size_t bytes, bytes_max;
  uint32_t dropped; /* since the start */
  bool wants_key;   /* the pictures that the next one builds on are gone */
} picture_queue_t;

typedef struct {
  size_t bytes;
  uint32_t dropped;
  bool wants_key;
} picture_queue_state_t;

void picture_queue_init(picture_queue_t *queue, size_t bytes_max);
void picture_queue_destroy(picture_queue_t *queue);

/* The queue owns the picture from here on. */
void picture_queue_push(picture_queue_t *queue, picture_t *picture);

/* The oldest picture, now the caller's to free, or null; and how many were dropped until then, all older than it. */
picture_t *picture_queue_pop(picture_queue_t *queue, uint32_t *dropped);

/* A popped picture that cannot be sent after all: freed and counted as dropped. */
void picture_queue_reject(picture_queue_t *queue, picture_t *picture);

picture_queue_state_t picture_queue_state(picture_queue_t *queue);

#endif
