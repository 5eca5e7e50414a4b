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
  queue->count--;
  picture->next = NULL;
  return picture;
}

static picture_t *take_sent(picture_queue_t *queue) {
  picture_t *picture = queue->sent;
  queue->sent = picture->next;
  if (queue->sent == NULL) {
    queue->sent_newest = NULL;
  }
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
  picture_queue_arrived(queue, UINT64_MAX);
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
  queue->count++;

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

void picture_queue_keep_sent(picture_queue_t *queue, picture_t *picture, uint64_t sent_end) {
  picture->next = NULL;
  picture->sent_end = sent_end;
  if (queue->sent_newest == NULL) {
    queue->sent = picture;
  } else {
    queue->sent_newest->next = picture;
  }
  queue->sent_newest = picture;
}

void picture_queue_arrived(picture_queue_t *queue, uint64_t bytes) {
  while (queue->sent != NULL && queue->sent->sent_end <= bytes) {
    free(take_sent(queue));
  }
}

void picture_queue_take_back(picture_queue_t *queue) {
  if (queue->sent == NULL) {
    return;
  }
  pthread_mutex_lock(&queue->lock);
  for (picture_t *picture = queue->sent; picture != NULL; picture = picture->next) {
    queue->bytes += cost(picture);
    queue->count++;
  }
  queue->sent_newest->next = queue->oldest;
  if (queue->newest == NULL) {
    queue->newest = queue->sent_newest;
  }
  queue->oldest = queue->sent;
  queue->sent = queue->sent_newest = NULL;
  pthread_mutex_unlock(&queue->lock);
}

picture_queue_state_t picture_queue_state(picture_queue_t *queue) {
  pthread_mutex_lock(&queue->lock);
  picture_queue_state_t state = {queue->bytes, queue->count, queue->dropped, queue->wants_key};
  pthread_mutex_unlock(&queue->lock);
  return state;
}
