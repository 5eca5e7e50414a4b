#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "jpeg_scan.h"

typedef struct {
  source_t base;
  bool once;
  char *folder;
  struct dirent **names; /* of the folder, sorted */
  int name_count, name_at;
  uint8_t *bytes; /* of the file, mapped */
  size_t size, at;
  uint64_t due_t_ns;
  uint32_t frame;
} files_t;

static int is_jpeg_name(const struct dirent *entry) {
  const char *dot = strrchr(entry->d_name, '.');
  return dot != NULL && (strcmp(dot, ".jpg") == 0 || strcmp(dot, ".jpeg") == 0);
}

static uint8_t *map_file(int fd, size_t *size) {
  struct stat about;
  if (fstat(fd, &about) != 0 || about.st_size <= 0) {
    return NULL;
  }
  void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  *size = (size_t)about.st_size;
  return bytes == MAP_FAILED ? NULL : bytes;
}

static uint8_t *map_path(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return NULL;
  }
  uint8_t *bytes = map_file(fd, size);
  close(fd);
  return bytes;
}

static picture_t *picture_of_jpeg(const uint8_t *data, size_t size, size_t *length) {
  jpeg_extent_t extent;
  if (!jpeg_scan(data, size, &extent)) {
    return NULL;
  }
  picture_t *picture = picture_new(data, extent.size);
  if (picture == NULL) {
    return NULL;
  }
  picture->width = extent.width;
  picture->height = extent.height;
  if (length != NULL) {
    *length = extent.size;
  }
  return picture;
}

static picture_t *next_of_folder(files_t *files) {
  char path[4096];
  const char *name = files->names[files->name_at++]->d_name;
  if (snprintf(path, sizeof path, "%s/%s", files->folder, name) >= (int)sizeof path) {
    return NULL;
  }
  size_t size = 0;
  uint8_t *bytes = map_path(path, &size);
  picture_t *picture = bytes == NULL ? NULL : picture_of_jpeg(bytes, size, NULL);
  if (bytes != NULL) {
    munmap(bytes, size);
  }
  if (picture == NULL) {
    snprintf(files->base.problem, sizeof files->base.problem, "%.160s is not a whole JPEG", name);
  }
  return picture;
}

static picture_t *next_of_file(files_t *files) {
  size_t length = 0;
  picture_t *picture = picture_of_jpeg(files->bytes + files->at, files->size - files->at, &length);
  if (picture == NULL) {
    snprintf(files->base.problem, sizeof files->base.problem, "no whole JPEG at byte %zu", files->at);
    files->at = files->size;
  }
  files->at += length;
  return picture;
}

static bool at_end(const files_t *files) {
  return files->folder != NULL ? files->name_at == files->name_count : files->at >= files->size;
}

static void rewind_files(files_t *files) {
  files->name_at = 0;
  files->at = 0;
}

static void wait_until(uint64_t t_ns) {
  struct timespec when = {.tv_sec = (time_t)(t_ns / NS_PER_S), .tv_nsec = (long)(t_ns % NS_PER_S)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR) {
    /* interrupted: once more */
  }
}

static bool files_start(source_t *source) {
  ((files_t *)source)->due_t_ns = clock_now_ns();
  return true;
}

static void files_stop(source_t *source) {
  (void)source;
}

static source_result_t files_next(source_t *source, picture_t **picture) {
  files_t *files = (files_t *)source;
  if (at_end(files)) {
    if (files->once) {
      return SOURCE_ENDED;
    }
    rewind_files(files);
  }
  files->due_t_ns += (uint64_t)((double)NS_PER_S / source->rate_hz);
  wait_until(files->due_t_ns);
  *picture = files->folder != NULL ? next_of_folder(files) : next_of_file(files);
  uint32_t frame = files->frame++;
  if (*picture == NULL) {
    return SOURCE_DAMAGED;
  }
  (*picture)->frame = frame;
  (*picture)->capture_t_ns = files->due_t_ns;
  return SOURCE_PICTURE;
}

static void files_close(source_t *source) {
  files_t *files = (files_t *)source;
  for (int i = 0; i < files->name_count; i++) {
    free(files->names[i]);
  }
  free(files->names);
  if (files->bytes != NULL) {
    munmap(files->bytes, files->size);
  }
  free(files->folder);
  free(files);
}

static bool open_path(files_t *files, const char *path, char *problem, size_t problem_size) {
  struct stat about;
  if (stat(path, &about) != 0) {
    snprintf(problem, problem_size, "%s: %s", path, strerror(errno));
    return false;
  }
  if (S_ISDIR(about.st_mode)) {
    files->folder = strdup(path);
    files->name_count = scandir(path, &files->names, is_jpeg_name, alphasort);
    if (files->name_count < 0) {
      files->name_count = 0;
    }
    if (files->folder != NULL && files->name_count > 0) {
      return true;
    }
    snprintf(problem, problem_size, "%s: no .jpg in this folder", path);
    return false;
  }
  jpeg_extent_t extent;
  files->bytes = map_path(path, &files->size);
  if (files->bytes != NULL && jpeg_scan(files->bytes, files->size, &extent)) {
    return true;
  }
  snprintf(problem, problem_size, "%s: does not begin with a whole JPEG; a file source is JPEGs end to end", path);
  return false;
}

source_t *files_open(const char *path, double rate_hz, bool once, char *problem, size_t problem_size) {
  files_t *files = calloc(1, sizeof *files);
  if (files == NULL) {
    return NULL;
  }
  files->once = once;
  files->base = (source_t){.model = "files",
                           .rate_hz = rate_hz,
                           .start = files_start,
                           .stop = files_stop,
                           .next = files_next,
                           .close = files_close};
  if (open_path(files, path, problem, problem_size)) {
    return &files->base;
  }
  files_close(&files->base);
  return NULL;
}
