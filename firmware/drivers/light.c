#include "light.h"

void light_set(light_t *light, const handcap_Light *wanted, uint64_t now_ns) {
  light->shown = *wanted;
  light->since_ns = now_ns;
}

static bool lit(const light_t *light, uint64_t now_ns) {
  if (light->shown.blink_ms == 0) {
    return true;
  }
  /* Milliseconds in 32 bits: 49 days, after which a blink is cut short once. */
  uint32_t since_ms = (uint32_t)((now_ns - light->since_ns) / 1000000U);
  return since_ms / light->shown.blink_ms % 2U == 0;
}

void light_levels(const light_t *light, uint64_t now_ns, uint8_t levels[3]) {
  bool on = lit(light, now_ns);
  levels[0] = on ? (uint8_t)light->shown.red : 0;
  levels[1] = on ? (uint8_t)light->shown.green : 0;
  levels[2] = on ? (uint8_t)light->shown.blue : 0;
}
