/* The thread that takes pictures from a source and puts them into the queue. */
#ifndef HC_NODE_CAMERA_H
#define HC_NODE_CAMERA_H

#include <pthread.h>
#include <stdbool.h>

#include "queue.h"
#include "source.h"

typedef enum { CAMERA_STOPPED, CAMERA_RUNNING, CAMERA_ABSENT, CAMERA_ENDED } camera_state_t;

typedef struct {
  source_t *source;
  picture_queue_t *queue;
  int news_fd; /* an eventfd: readable when there is a picture or a change */
  pthread_t thread;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  bool wanted, quit;
  camera_state_t state;
  uint32_t damaged; /* pictures that the driver marked as broken */
  char problem[200];
} camera_t;

typedef struct {
  camera_state_t state;
  uint32_t damaged;
  char problem[200];
} camera_view_t;

/* The source is the camera's from here on. False where no thread can be had. */
bool camera_init(camera_t *camera, source_t *source, picture_queue_t *queue);
void camera_destroy(camera_t *camera);

void camera_stream(camera_t *camera, bool on);
camera_view_t camera_view(camera_t *camera);

#endif
