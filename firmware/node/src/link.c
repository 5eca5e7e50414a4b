#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pb_encode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Pictures are to wait in our queue, where they can still be dropped whole, and not in the kernel's. */
#define KERNEL_BYTES (512 * 1024)
#define UNSENT_BYTES (64 * 1024)
/* A host that takes nothing for this long is lost, and another may come. */
#define PATIENCE_MS 30000

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} address_t;

static bool parse_address(const char *text, uint16_t port, address_t *address, socklen_t *length) {
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons(port);
    *length = sizeof address->v4;
    return true;
  }
  if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
    address->v6.sin6_family = AF_INET6;
    address->v6.sin6_port = htons(port);
    *length = sizeof address->v6;
    return true;
  }
  return false;
}

static void name_peer(const address_t *address, char *text, size_t size) {
  char number[INET6_ADDRSTRLEN] = "?";
  bool v6 = address->any.sa_family == AF_INET6;
  const void *from = v6 ? (const void *)&address->v6.sin6_addr : (const void *)&address->v4.sin_addr;
  inet_ntop(address->any.sa_family, from, number, sizeof number);
  snprintf(text, size, "%s", number);
}

bool link_listen(link_t *link, const char *address, uint16_t port, char *problem, size_t problem_size) {
  *link = (link_t){.listen_fd = -1, .fd = -1};
  address_t bound;
  socklen_t length = 0;
  if (!parse_address(address, port, &bound, &length)) {
    snprintf(problem, problem_size, "--bind %s: not an IP address; 127.0.0.1, 0.0.0.0 or one of this machine's",
             address);
    return false;
  }
  int fd = socket(bound.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  if (fd < 0 || bind(fd, &bound.any, length) != 0 || listen(fd, 64) != 0) {
    snprintf(problem, problem_size, "cannot listen on %s port %u: %s", address, port, strerror(errno));
    if (fd >= 0) {
      close(fd);
    }
    return false;
  }
  link->listen_fd = fd;
  return true;
}

uint16_t link_port(const link_t *link) {
  address_t address = {0};
  socklen_t length = sizeof address;
  getsockname(link->listen_fd, &address.any, &length);
  return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

void link_destroy(link_t *link) {
  link_drop(link);
  if (link->listen_fd >= 0) {
    close(link->listen_fd);
  }
  free(link->message);
  free(link->framed);
}

static bool make_room(uint8_t **bytes, size_t *room, size_t wanted) {
  if (*room >= wanted) {
    return true;
  }
  uint8_t *larger = realloc(*bytes, wanted);
  if (larger == NULL) {
    return false;
  }
  *bytes = larger;
  *room = wanted;
  return true;
}

bool link_put(link_t *link, const handcap_Envelope *envelope, size_t size_max) {
  if (!make_room(&link->message, &link->message_room, size_max + HC_CRC_LEN)) {
    return false;
  }
  if (!make_room(&link->framed, &link->framed_room, HC_COBS_MAX(size_max + HC_CRC_LEN) + 1)) {
    return false;
  }
  pb_ostream_t stream = pb_ostream_from_buffer(link->message, size_max);
  if (!pb_encode(&stream, handcap_Envelope_fields, envelope)) {
    return false;
  }
  link->framed_bytes = hc_frame(link->message, stream.bytes_written, link->framed);
  link->sent_bytes = 0;
  return true;
}

/* Says why before it closes, so that the second host's user knows. */
static void turn_away(link_t *link, int fd) {
  static handcap_Envelope envelope;
  envelope = (handcap_Envelope)handcap_Envelope_init_zero;
  envelope.which_body = handcap_Envelope_log_tag;
  envelope.body.log.level = handcap_Log_Level_LEVEL_ERROR;
  snprintf(envelope.body.log.text, sizeof envelope.body.log.text,
           "this camera node serves one host at a time, and %s has it", link->peer);
  uint8_t message[512 + HC_CRC_LEN], framed[HC_COBS_MAX(512 + HC_CRC_LEN) + 1];
  pb_ostream_t stream = pb_ostream_from_buffer(message, 512);
  if (pb_encode(&stream, handcap_Envelope_fields, &envelope)) {
    size_t length = hc_frame(message, stream.bytes_written, framed);
    if (send(fd, framed, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      errno = 0; /* it may have gone already */
    }
  }
  close(fd);
}

static void set_number(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

bool link_accept(link_t *link) {
  address_t address = {0};
  socklen_t length = sizeof address;
  int fd = accept4(link->listen_fd, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  if (link->fd >= 0) {
    turn_away(link, fd);
    return false;
  }
  set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_number(fd, SOL_SOCKET, SO_SNDBUF, KERNEL_BYTES);
  set_number(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES);
  set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, PATIENCE_MS);
  link->fd = fd;
  link->framed_bytes = link->sent_bytes = 0;
  link->bytes_out = 0;
  name_peer(&address, link->peer, sizeof link->peer);
  /* A new host's first byte begins a frame; the counts of damage stay. */
  hc_deframer_t fresh;
  hc_deframer_init(&fresh);
  fresh.bad_crc = link->deframer.bad_crc;
  fresh.bad_frame = link->deframer.bad_frame;
  fresh.too_long = link->deframer.too_long;
  link->deframer = fresh;
  return true;
}

void link_drop(link_t *link) {
  if (link->fd >= 0) {
    close(link->fd);
  }
  link->fd = -1;
}

link_result_t link_flush(link_t *link) {
  while (link_busy(link)) {
    const uint8_t *from = link->framed + link->sent_bytes;
    ssize_t sent = send(link->fd, from, link->framed_bytes - link->sent_bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0) {
      return errno == EAGAIN ? LINK_BLOCKED : LINK_LOST;
    }
    link->sent_bytes += (size_t)sent;
    link->bytes_out += (uint64_t)sent;
  }
  return LINK_OPEN;
}

uint64_t link_arrived(const link_t *link) {
  int unacknowledged = 0;
  if (link->fd < 0 || ioctl(link->fd, SIOCOUTQ, &unacknowledged) != 0 || unacknowledged < 0) {
    return 0;
  }
  uint64_t waiting = (uint64_t)unacknowledged;
  return waiting < link->bytes_out ? link->bytes_out - waiting : 0;
}
