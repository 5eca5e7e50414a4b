#include "camera.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void tell(const camera_t *camera) {
  uint64_t one = 1;
  while (write(camera->news_fd, &one, sizeof one) < 0 && errno == EINTR) {
    /* interrupted: once more */
  }
}

static void set_state(camera_t *camera, camera_state_t state) {
  bool told = camera->state == state;
  camera->state = state;
  snprintf(camera->problem, sizeof camera->problem, "%s", state == CAMERA_ABSENT ? camera->source->problem : "");
  if (!told) {
    tell(camera);
  }
}

/* Lets go of the lock for at most a second, or until someone wants something else. */
static void rest(camera_t *camera) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 1;
  pthread_cond_timedwait(&camera->changed, &camera->lock, &until);
}

/* Called with the lock held; lets go of it while the source works. Returns with it held. */
static void stream(camera_t *camera) {
  pthread_mutex_unlock(&camera->lock);
  bool started = camera->source->start(camera->source);
  pthread_mutex_lock(&camera->lock);
  set_state(camera, started ? CAMERA_RUNNING : CAMERA_ABSENT);
  if (!started) {
    rest(camera);
    return;
  }
  source_result_t result = SOURCE_NOTHING;
  while (camera->wanted && !camera->quit && result != SOURCE_GONE && result != SOURCE_ENDED) {
    pthread_mutex_unlock(&camera->lock);
    picture_t *picture = NULL;
    result = camera->source->next(camera->source, &picture);
    if (result == SOURCE_PICTURE) {
      picture_queue_push(camera->queue, picture);
      tell(camera);
    }
    pthread_mutex_lock(&camera->lock);
    if (result == SOURCE_DAMAGED) {
      camera->damaged++;
    }
  }
  camera->source->stop(camera->source);
  if (result == SOURCE_GONE) {
    set_state(camera, CAMERA_ABSENT);
    rest(camera);
  } else {
    set_state(camera, result == SOURCE_ENDED ? CAMERA_ENDED : CAMERA_STOPPED);
  }
}

static void *run(void *argument) {
  camera_t *camera = argument;
  pthread_mutex_lock(&camera->lock);
  while (!camera->quit) {
    if (camera->wanted && camera->state != CAMERA_ENDED) {
      stream(camera);
    } else {
      if (camera->state != CAMERA_ENDED) {
        set_state(camera, CAMERA_STOPPED);
      }
      pthread_cond_wait(&camera->changed, &camera->lock);
    }
  }
  pthread_mutex_unlock(&camera->lock);
  return NULL;
}

bool camera_init(camera_t *camera, source_t *source, picture_queue_t *queue) {
  *camera = (camera_t){.source = source, .queue = queue, .state = CAMERA_STOPPED};
  camera->news_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&camera->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&camera->lock, NULL);
  if (camera->news_fd >= 0 && pthread_create(&camera->thread, NULL, run, camera) == 0) {
    return true;
  }
  if (camera->news_fd >= 0) {
    close(camera->news_fd);
  }
  source->close(source);
  return false;
}

void camera_destroy(camera_t *camera) {
  pthread_mutex_lock(&camera->lock);
  camera->quit = true;
  pthread_cond_signal(&camera->changed);
  pthread_mutex_unlock(&camera->lock);
  pthread_join(camera->thread, NULL);
  pthread_cond_destroy(&camera->changed);
  pthread_mutex_destroy(&camera->lock);
  close(camera->news_fd);
  camera->source->close(camera->source);
}

void camera_stream(camera_t *camera, bool on) {
  pthread_mutex_lock(&camera->lock);
  camera->wanted = on;
  pthread_cond_signal(&camera->changed);
  pthread_mutex_unlock(&camera->lock);
}

camera_view_t camera_view(camera_t *camera) {
  pthread_mutex_lock(&camera->lock);
  camera_view_t view = {.state = camera->state, .damaged = camera->damaged};
  memcpy(view.problem, camera->problem, sizeof view.problem);
  pthread_mutex_unlock(&camera->lock);
  return view;
}
