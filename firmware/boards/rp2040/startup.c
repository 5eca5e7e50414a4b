/* From reset to main: vectors, memory, stack paint. */
#include "startup.h"

#include "rp2040.h"

#define PAINT 0xa5a5a5a5U

extern const uint32_t data_begin, data_end, data_image, bss_begin, bss_end, stack_bottom, stack_top;

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
    [0] = (handler_t)&stack_top,
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

/* Addresses as numbers: to the compiler the linker's marks are objects that have nothing to do with each other. */
static uintptr_t address_of(const uint32_t *mark) {
  return (uintptr_t)mark;
}

static void copy_data(void) {
  uintptr_t from = address_of(&data_image);
  for (uintptr_t to = address_of(&data_begin); to < address_of(&data_end); to += 4) {
    REGISTER(to) = REGISTER(from);
    from += 4;
  }
}

/* The table too moves to RAM, for the reason that link.ld gives for the handlers. */
static void move_vectors(void) {
  static handler_t in_ram[16 + IRQ_COUNT] __attribute__((aligned(256)));
  for (uint32_t i = 0; i < 16U + IRQ_COUNT; i++) {
    in_ram[i] = vectors[i];
  }
  REGISTER(SCB_VTOR) = (uint32_t)(uintptr_t)in_ram;
}

static void fill(const uint32_t *begin, uintptr_t end, uint32_t value) {
  for (uintptr_t to = address_of(begin); to < end; to += 4) {
    REGISTER(to) = value;
  }
}

__attribute__((noreturn)) void reset_handler(void) {
  uintptr_t used;
  __asm volatile("mov %0, sp" : "=r"(used));
  copy_data();
  fill(&bss_begin, address_of(&bss_end), 0);
  move_vectors();
  fill(&stack_bottom, used - 64U, PAINT); /* fill's own frame lies below `used` */
  (void)main();
  fault_handler();
}

uint32_t stack_free_bytes(void) {
  uintptr_t word = address_of(&stack_bottom);
  while (word < address_of(&stack_top) && REGISTER(word) == PAINT) {
    word += 4;
  }
  return (uint32_t)(word - address_of(&stack_bottom));
}
