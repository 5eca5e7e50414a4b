/* A button that bounces. What counts is the time of the first contact. */
#ifndef BUTTON_H
#define BUTTON_H
#include <stdbool.h>
#include <stdint.h>

#include "handcap.pb.h"

#define BUTTON_STABLE_NS 10000000U /* longer than a small tactile switch bounces (5 ms) */

typedef struct {
  bool down; /* as last reported */
  uint32_t presses;

  /* The interrupt's. */
  volatile uint32_t edges;
  volatile uint64_t first_t_ns; /* of the edges that wait for a verdict */
  volatile uint64_t last_t_ns;

  volatile uint32_t edges_judged; /* the loop's */
} button_t;

void button_start(button_t *button, bool down);

/* In the interrupt of either edge. */
void button_edge(button_t *button, uint64_t t_ns);

/* In the loop. True when the button has changed and stayed so; `event` then is the message. */
bool button_poll(button_t *button, uint64_t now_ns, bool down, handcap_Button *event);

#endif
