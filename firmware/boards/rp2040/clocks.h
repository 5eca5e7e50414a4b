/* Crystal 12 MHz; processor and peripherals 125 MHz, USB 48 MHz; a timer of microseconds. */
#ifndef CLOCKS_H
#define CLOCKS_H
#include <stdint.h>

#define SYSTEM_HZ 125000000U

void clocks_start(void);

/* Since reset, safe in interrupts too. */
uint64_t clock_us(void);

/* By shifts: a multiplication of 64 bits is a library call here. */
static inline uint64_t ns_of_us(uint64_t us) {
  return (us << 10) - (us << 4) - (us << 3);
}

void wait_us(uint32_t us);

#endif
