/* From reset to main: vectors, memory, stack paint. */
#include "startup.h"

#include <string.h>

#include "rp2040.h"

#define PAINT 0xa5a5a5a5U

extern uint32_t _data_begin, _data_end, _data_image, _bss_begin, _bss_end, _stack_bottom, _stack_top;

int main(void);

void reset_handler(void);
void timer_0_handler(void);
void timer_1_handler(void);
void usb_handler(void);
void pin_handler(void);
void uart_handler(void);

/* Nothing can be trusted here: the watchdog restarts the board and the host learns why from Hello.reset_cause. */
__attribute__((noreturn)) static void fault_handler(void) {
  for (;;) {
  }
}

typedef void (*handler_t)(void);

__attribute__((section(".vectors"), used)) static const handler_t vectors[16 + IRQ_COUNT] = {
    [0] = (handler_t)&_stack_top,
    [1] = reset_handler,
    [2] = fault_handler,
    [3] = fault_handler,
    [11] = fault_handler,
    [14] = fault_handler,
    [15] = fault_handler,
    [16 + IRQ_TIMER_0] = timer_0_handler,
    [16 + IRQ_TIMER_1] = timer_1_handler,
    [16 + IRQ_USBCTRL] = usb_handler,
    [16 + IRQ_IO_BANK0] = pin_handler,
    [16 + IRQ_UART0] = uart_handler,
};

__attribute__((noreturn)) void reset_handler(void) {
  for (uint32_t *to = &_data_begin, *from = &_data_image; to < &_data_end;) {
    *to++ = *from++;
  }
  for (uint32_t *to = &_bss_begin; to < &_bss_end;) {
    *to++ = 0;
  }
  uint32_t *used;
  __asm volatile("mov %0, sp" : "=r"(used));
  for (uint32_t *to = &_stack_bottom; to < used - 4;) {
    *to++ = PAINT;
  }
  (void)main();
  fault_handler();
}

uint32_t stack_free_bytes(void) {
  const uint32_t *word = &_stack_bottom;
  while (word < &_stack_top && *word == PAINT) {
    word++;
  }
  return (uint32_t)((uintptr_t)word - (uintptr_t)&_stack_bottom);
}
