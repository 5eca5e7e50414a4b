/* The serial line: UART0 at 921600 baud, 8N1. */
#ifndef UART_H
#define UART_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hc_rx_ring.h"

void uart_start(void);

/* Bytes of the host, each frame stamped in the interrupt of its first byte. */
extern hc_rx_ring_t uart_rx;

/* Nothing more to send: the last byte is with the line. */
bool uart_idle(void);

/* `bytes` must stay as they are until uart_idle. */
void uart_send(const uint8_t *bytes, size_t len);

/* Bytes that the interrupt was too late for. */
uint32_t uart_overruns(void);

#endif
