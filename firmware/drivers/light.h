/* A light of three colours, steady or blinking. */
#ifndef LIGHT_H
#define LIGHT_H
#include <stdbool.h>
#include <stdint.h>

#include "handcap.pb.h"

typedef struct {
  handcap_Light shown;
  uint64_t since_ns;
} light_t;

void light_set(light_t *light, const handcap_Light *wanted, uint64_t now_ns);

/* Brightness now, 0 to 255 each: red, green, blue. */
void light_levels(const light_t *light, uint64_t now_ns, uint8_t levels[3]);

#endif
