/* handcap-node: a camera, and an inertial sensor where there is one, on a small Linux machine. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "files.h"
#include "machine.h"
#include "node.h"
#include "options.h"
#include "v4l2.h"

static node_t node;
static link_t link_to_host;
static camera_t camera;
static picture_queue_t pictures;
static iio_t iio;
static imu_queue_t samples;

static int complain(const char *problem) {
  fprintf(stderr, "handcap-node: %s\n", problem);
  return EXIT_FAILURE;
}

/* Blocked before any thread begins, so that they reach the loop alone. */
static int take_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void warn_of_bind(const options_t *options) {
  if (strncmp(options->bind, "127.", 4) == 0 || strcmp(options->bind, "::1") == 0) {
    return;
  }
  fprintf(stderr,
          "handcap-node: WARNING: pictures leave this machine unencrypted, for whoever connects first to %s port %u.\n"
          "  Use it on a cable or a network that is yours alone.\n",
          options->bind, options->port);
}

static source_t *open_source(const options_t *options, char *problem, size_t size) {
  if (options->source == NULL) {
    return v4l2_open(&options->camera, problem, size);
  }
  return files_open(options->source, options->camera.rate_hz, options->once, problem, size);
}

/* False where an inertial sensor was asked for by name and is not to be had. */
static bool find_imu(const options_t *options) {
  if (strcmp(options->imu, "none") == 0) {
    return true;
  }
  bool named = strcmp(options->imu, "auto") != 0;
  switch (iio_find(&iio, options->iio_root, named ? options->imu : NULL)) {
    case IIO_FOUND:
      node.iio = &iio;
      break;
    case IIO_UNFIT:
      fprintf(stderr, "handcap-node: inertial sensor: %s\n", iio.problem);
      return !named;
    case IIO_NONE:
      if (named) {
        fprintf(stderr, "handcap-node: no IIO device is called %s\n", options->imu);
      }
      return !named;
  }
  imu_queue_init(&samples, iio.rate_hz);
  node.samples = &samples;
  return true;
}

static bool random_boot_id(uint32_t *boot_id) {
  do {
    if (getrandom(boot_id, sizeof *boot_id, 0) != sizeof *boot_id) {
      return false;
    }
  } while (*boot_id == 0);
  return true;
}

static int serve(const options_t *options, source_t *source) {
  /* The source belongs to the camera's thread from here on: what is said of it is copied first. */
  char model[sizeof source->model];
  memcpy(model, source->model, sizeof model);
  node.identity = (node_identity_t){
      .camera_name = options->name, .source_model = model, .source_rate_hz = source->rate_hz, .uid = options->uid};
  if (!camera_init(&camera, source, &pictures)) {
    return complain("no thread for the camera");
  }
  fprintf(stderr, "handcap-node: %s as %s, %s, listening on %s port %u\n", model, options->name,
          node.iio == NULL ? "no inertial sensor" : iio.model, options->bind, link_port(&link_to_host));
  node_run(&node);
  free(node.picture);
  if (node.imu_running) {
    iio_stop(&iio);
  }
  camera_destroy(&camera);
  return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
  options_t options;
  switch (options_parse(&options, count, arguments)) {
    case OPTIONS_DONE:
      return EXIT_SUCCESS;
    case OPTIONS_WRONG:
      return 2;
    case OPTIONS_RUN:
      break;
  }
  char problem[256] = "out of memory";
  node.link = &link_to_host;
  node.camera = &camera;
  node.pictures = &pictures;
  if (options.uid == 0 && !machine_uid(options.name, &options.uid)) {
    return complain("this machine has no /etc/machine-id and no network card: give --uid");
  }
  node.signal_fd = take_signals();
  if (node.signal_fd < 0 || !random_boot_id(&node.boot_id)) {
    return complain("the kernel gives no signals or no randomness");
  }
  if (!find_imu(&options)) {
    return EXIT_FAILURE;
  }
  source_t *source = open_source(&options, problem, sizeof problem);
  if (source == NULL) {
    return complain(problem);
  }
  int result;
  if (link_listen(&link_to_host, options.bind, options.port, problem, sizeof problem)) {
    warn_of_bind(&options);
    picture_queue_init(&pictures, (size_t)options.buffer_mib * 1024 * 1024);
    result = serve(&options, source);
    picture_queue_destroy(&pictures);
  } else {
    source->close(source);
    result = complain(problem);
  }
  link_destroy(&link_to_host);
  close(node.signal_fd);
  return result;
}
