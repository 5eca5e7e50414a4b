#include "pwm.h"

#include "rp2040.h"

enum { SLICE_RED_GREEN = 5, SLICE_BLUE = 6 };

static uint32_t set[2]; /* what the compare registers hold */

void pwm_start(void) {
  for (uint32_t slice = SLICE_RED_GREEN; slice <= SLICE_BLUE; slice++) {
    REGISTER(PWM_DIV(slice)) = 255U << 4; /* 125 MHz / 255 / 255 = 1.9 kHz: no eye sees it */
    REGISTER(PWM_TOP(slice)) = 254;       /* so that 255 is on without a break */
    REGISTER(PWM_CC(slice)) = 0;
  }
}

static void set_slice(uint32_t slice, uint32_t compare) {
  uint32_t *before = &set[slice - SLICE_RED_GREEN];
  if (compare == *before) {
    return;
  }
  *before = compare;
  REGISTER(PWM_CC(slice)) = compare;
  REGISTER(PWM_CSR(slice)) = 1; /* never stopped again: a stopped slice may leave its pins high */
}

void pwm_set(const uint8_t levels[3]) {
  set_slice(SLICE_RED_GREEN, (uint32_t)levels[1] << 16 | levels[0]);
  set_slice(SLICE_BLUE, levels[2]);
}
