/* Pictures that wait for a reader: bounded in bytes, and what does not fit goes out oldest first, whole, and counted.
 *
 * H.264 pictures need the ones before them, so there the gap is widened to the next key picture: what is left always
 * decodes. What was sent is kept until the host's kernel has it: a link that is lost takes nothing along. One thread
 * pushes, another does all the rest. */
#ifndef HC_NODE_QUEUE_H
#define HC_NODE_QUEUE_H

#include <pthread.h>

#include "picture.h"

typedef struct {
  pthread_mutex_t lock;
  picture_t *oldest, *newest;
  picture_t *sent, *sent_newest; /* no more than the kernel's own queue holds, so they are not counted in bytes */
  size_t bytes, bytes_max;
  uint32_t count;
  uint32_t dropped; /* since the start */
  bool wants_key;   /* the pictures that the next one builds on are gone */
} picture_queue_t;

typedef struct {
  size_t bytes;
  uint32_t count, dropped;
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

/* A popped picture has gone out and ended with this byte of the link: kept until it is known to have arrived. */
void picture_queue_keep_sent(picture_queue_t *queue, picture_t *picture, uint64_t sent_end);

/* So many bytes of the link have arrived. */
void picture_queue_arrived(picture_queue_t *queue, uint64_t bytes);

/* The link is lost: what was sent and did not arrive is the oldest that waits again. */
void picture_queue_take_back(picture_queue_t *queue);

picture_queue_state_t picture_queue_state(picture_queue_t *queue);

#endif
