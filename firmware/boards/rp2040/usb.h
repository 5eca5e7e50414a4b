/* The USB port: the same stream as on the serial line, to whichever program has the port open. */
#ifndef USB_H
#define USB_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hc_rx_ring.h"

void usb_start(uint64_t uid);

/* Bytes of the host, stamped in the interrupt of the packet that brought them. */
extern hc_rx_ring_t usb_rx;

/* A program has the port open (DTR). */
bool usb_open(void);

/* Nothing more to send. */
bool usb_idle(void);

/* `bytes` must stay as they are until usb_idle. Given up when the port is closed. */
void usb_send(const uint8_t *bytes, size_t len);

/* In the loop: lets the host send on, once there is room. */
void usb_poll(uint64_t now_ns);

#endif
