#include "uart.h"

#include "clocks.h"
#include "loop.h"
#include "rp2040.h"

hc_rx_ring_t uart_rx;

static const uint8_t *volatile sending;
static volatile size_t left;
static volatile uint32_t overruns;

void uart_start(void) {
  /* 125 MHz / (16 * (8 + 31/64)) = 920810 baud, 0.1 % slow. */
  REGISTER(UART0_IBRD) = 8;
  REGISTER(UART0_FBRD) = 31;
  /* Without the hardware's FIFOs: each byte has its own interrupt, so that the first one's time is exact. */
  REGISTER(UART0_LCR_H) = 3U << 5;
  REGISTER(UART0_CR) = 1U << 9 | 1U << 8 | 1U << 0;
  REGISTER(UART0_IMSC) = UART_INT_RX | UART_INT_OVERRUN;
}

static void send_what_fits(void) {
  while (left > 0 && (REGISTER(UART0_FR) & UART0_FR_TXFF) == 0) {
    REGISTER(UART0_DR) = *sending;
    sending++;
    left--;
    if (left == 0) {
      loop_wanted = true;
    }
  }
  REGISTER(UART0_IMSC) = UART_INT_RX | UART_INT_OVERRUN | (left > 0 ? UART_INT_TX : 0U);
}

bool uart_idle(void) {
  return left == 0;
}

void uart_send(const uint8_t *bytes, size_t len) {
  uint32_t before = interrupts_off();
  sending = bytes;
  left = len;
  send_what_fits();
  interrupts_restore(before);
}

uint32_t uart_overruns(void) {
  return overruns + uart_rx.overruns;
}

void uart_handler(void) {
  uint64_t t_ns = ns_of_us(clock_us());
  while ((REGISTER(UART0_FR) & UART0_FR_RXFE) == 0) {
    uint32_t data = REGISTER(UART0_DR);
    if ((data & UART_DR_OVERRUN) != 0) {
      overruns++;
    }
    hc_rx_push(&uart_rx, (uint8_t)data, t_ns);
    if ((data & 0xffU) == 0) { /* a frame's end */
      loop_wanted = true;
    }
  }
  REGISTER(UART0_ICR) = UART_INT_OVERRUN;
  send_what_fits();
}
