/* What the node says, and in which order. */
#ifndef HC_NODE_MESSAGES_H
#define HC_NODE_MESSAGES_H

#include "node.h"

/* To stderr, and to the host where there is one and room. */
__attribute__((format(printf, 3, 4))) void node_say(node_t *node, handcap_Log_Level level, const char *format, ...);

node_losses_t node_losses(node_t *node);

/* Hand the most urgent message to the link. False where there is nothing to say, or no memory to say it. */
bool messages_put_next(node_t *node);

/* The link has sent all of what it was handed. */
void messages_let_go_of_sent(node_t *node);

/* What the host's kernel has need not be kept any longer. */
void messages_forget_arrived(node_t *node);

/* The link is lost, and not yet closed: pictures and samples that did not arrive wait for the next one. */
void messages_take_back(node_t *node);

#endif
