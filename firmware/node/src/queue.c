#include "queue.h"

#include <stdlib.h>

static size_t cost(const picture_t *picture) {
  return sizeof *picture + picture->size;
}

static picture_t *take_oldest(picture_queue_t *queue) {
  picture_t *picture = queue->oldest;
  if (picture == NULL) {
    return NULL;
  }
  queue->oldest = picture->next;
  if (queue->oldest == NULL) {
    queue->newest = NULL;
  }
  queue->bytes -= cost(picture);
  picture->next = NULL;
  return picture;
}

static void drop_oldest(picture_queue_t *queue) {
  free(take_oldest(queue));
  queue->dropped++;
}

void picture_queue_init(picture_queue_t *queue, size_t bytes_max) {
  *queue = (picture_queue_t){.bytes_max = bytes_max};
  pthread_mutex_init(&queue->lock, NULL);
}

void picture_queue_destroy(picture_queue_t *queue) {
  while (queue->oldest != NULL) {
    free(take_oldest(queue));
  }
  pthread_mutex_destroy(&queue->lock);
}

void picture_queue_push(picture_queue_t *queue, picture_t *picture) {
  pthread_mutex_lock(&queue->lock);
  picture->next = NULL;
  if (queue->newest == NULL) {
    queue->oldest = picture;
  } else {
    queue->newest->next = picture;
  }
  queue->newest = picture;
  queue->bytes += cost(picture);

  bool dropped = queue->wants_key;
  while (queue->bytes > queue->bytes_max) {
    drop_oldest(queue);
    dropped = true;
  }
  while (dropped && queue->oldest != NULL && !queue->oldest->key) {
    drop_oldest(queue);
  }
  queue->wants_key = dropped && queue->oldest == NULL;
  pthread_mutex_unlock(&queue->lock);
}

picture_t *picture_queue_pop(picture_queue_t *queue, uint32_t *dropped) {
  pthread_mutex_lock(&queue->lock);
  picture_t *picture = take_oldest(queue);
  *dropped = queue->dropped;
  pthread_mutex_unlock(&queue->lock);
  return picture;
}

void picture_queue_reject(picture_queue_t *queue, picture_t *picture) {
  free(picture);
  pthread_mutex_lock(&queue->lock);
  queue->dropped++;
  pthread_mutex_unlock(&queue->lock);
}

picture_queue_state_t picture_queue_state(picture_queue_t *queue) {
  pthread_mutex_lock(&queue->lock);
  picture_queue_state_t state = {queue->bytes, queue->dropped, queue->wants_key};
  pthread_mutex_unlock(&queue->lock);
  return state;
}
