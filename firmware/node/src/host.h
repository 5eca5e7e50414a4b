/* The host at the other end: it comes, commands, listens, and goes. */
#ifndef HC_NODE_HOST_H
#define HC_NODE_HOST_H

#include "node.h"

/* Another host wants to come: the one that is here goes if it has fallen silent. */
void host_give_way(node_t *node, uint64_t now_ns);

void host_greet(node_t *node, uint64_t now_ns);

/* `events` as poll gave them at `now_ns`, which is a request's t2. */
void host_hear(node_t *node, short events, uint64_t now_ns);

/* Say what there is to say, as far as the line takes it. */
void host_speak(node_t *node);

size_t host_room_for_bytes(const node_t *node);
bool host_has_something_to_hear(const node_t *node);

#endif
