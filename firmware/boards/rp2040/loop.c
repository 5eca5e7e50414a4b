#include "loop.h"

#include "rp2040.h"

volatile bool loop_wanted;

void loop_sleep(void) {
  for (;;) {
    uint32_t before = interrupts_off();
    if (loop_wanted) {
      loop_wanted = false;
      interrupts_restore(before);
      return;
    }
    /* An interrupt that came after the question still ends this sleep; it is served once interrupts are on again. */
    __asm volatile("wfi");
    interrupts_restore(before);
  }
}
