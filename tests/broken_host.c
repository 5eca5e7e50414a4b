/* A computer that misbehaves, for one program: preloaded into it, steered through a shared file (broken_host.py).
 * Times are added to what the kernel says; a suspended laptop's CLOCK_MONOTONIC stands still, so its waits are moved. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct steering {
  int64_t realtime_ns, monotonic_ns;
  int64_t fsync_fails, write_delay_us;
};

static const struct steering* steered(void) {
  static const struct steering* map;
  static const struct steering none;
  if (!map) {
    const char* path = getenv("HANDCAP_BROKEN_HOST");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
    map = at == MAP_FAILED ? &none : at;
  }
  return map;
}

/* Whoever this program starts is well. */
__attribute__((constructor)) static void alone(void) { unsetenv("LD_PRELOAD"); }

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static struct timespec moved(struct timespec t, int64_t by_ns) {
  int64_t ns = t.tv_nsec + by_ns;
  t.tv_sec += ns / 1000000000;
  t.tv_nsec = ns % 1000000000;
  if (t.tv_nsec < 0) {
    t.tv_nsec += 1000000000;
    t.tv_sec--;
  }
  return t;
}

int clock_gettime(clockid_t clock, struct timespec* t) {
  REAL(clock_gettime);
  int failed = real(clock, t);
  if (!failed && clock == CLOCK_REALTIME) *t = moved(*t, steered()->realtime_ns);
  if (!failed && clock == CLOCK_MONOTONIC) *t = moved(*t, steered()->monotonic_ns);
  return failed;
}

time_t time(time_t* out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}

int gettimeofday(struct timeval* t, void* zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

/* CPython waits with these until a time of its CLOCK_MONOTONIC. */
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const struct timespec* until) {
  REAL(pthread_cond_timedwait);
  struct timespec t = moved(*until, -steered()->monotonic_ns);
  return real(condition, mutex, &t);
}

int sem_clockwait(sem_t* semaphore, clockid_t clock, const struct timespec* until) {
  REAL(sem_clockwait);
  struct timespec t = moved(*until, clock == CLOCK_MONOTONIC ? -steered()->monotonic_ns : 0);
  return real(semaphore, clock, &t);
}

static int is_segment(int fd) {
  char link[32], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return strstr(path, ".mcap") != NULL;
}

static int sync_fails(int fd) {
  if (!steered()->fsync_fails || !is_segment(fd)) return 0;
  errno = EIO;
  return 1;
}

int fsync(int fd) {
  REAL(fsync);
  return sync_fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  return sync_fails(fd) ? -1 : real(fd);
}

ssize_t write(int fd, const void* data, size_t size) {
  REAL(write);
  int64_t delay_us = steered()->write_delay_us;
  if (delay_us && is_segment(fd)) usleep(delay_us);
  return real(fd, data, size);
}
