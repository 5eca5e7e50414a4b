/* One host over TCP: framed messages in and out. */
#ifndef HC_NODE_LINK_H
#define HC_NODE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handcap.pb.h"
#include "hc_framing.h"

typedef enum { LINK_OPEN, LINK_BLOCKED, LINK_LOST } link_result_t;

typedef struct {
  int listen_fd, fd; /* fd is -1 without a host */
  char peer[64];
  hc_deframer_t deframer;
  uint8_t *message, *framed; /* grow to the largest message sent, never beyond the wire's limit */
  size_t message_room, framed_room;
  size_t framed_bytes, sent_bytes; /* of the message that is on its way */
  uint64_t bytes_out;              /* that the kernel took, of this link */
} link_t;

/* `address` is a number, IPv4 or IPv6; port 0 takes any that is free. */
bool link_listen(link_t *link, const char *address, uint16_t port, char *problem, size_t problem_size);
void link_destroy(link_t *link);
uint16_t link_port(const link_t *link);

/* A host has come; false where it was turned away, because another is here. */
bool link_accept(link_t *link);
void link_drop(link_t *link);

/* Frame a message of at most `size_max` encoded bytes and begin to send it. */
bool link_put(link_t *link, const handcap_Envelope *envelope, size_t size_max);

/* Send on; LINK_OPEN once the whole message is in the kernel's hands. */
link_result_t link_flush(link_t *link);

/* How many of bytes_out the host's kernel has acknowledged; of a link that has just been lost, too. */
uint64_t link_arrived(const link_t *link);

static inline bool link_busy(const link_t *link) { return link->sent_bytes < link->framed_bytes; }

#endif
