/* Bytes from the receive interrupt to the main loop, each frame with the time of its first byte.
 * One writer (interrupt), one reader (loop): each index has one owner, so no lock is needed. */
#ifndef HC_RX_RING_H
#define HC_RX_RING_H
#include <stdbool.h>
#include <stdint.h>

#define HC_RX_BYTES 512U /* power of two; 5 ms at 921600 baud */
#define HC_RX_FRAMES 16U /* power of two; frames begun and not yet read */

typedef struct {
  uint8_t bytes[HC_RX_BYTES];
  uint64_t frame_t_ns[HC_RX_FRAMES];
  volatile uint32_t written, read;            /* count up for ever */
  volatile uint32_t frames_begun, frames_read;
  volatile uint32_t overruns; /* bytes lost for want of room */
  bool inside_frame;          /* writer's */
  bool reading_frame;         /* reader's */
  uint64_t t_ns;              /* reader's: of the frame being read */
} hc_rx_ring_t;

/* In the interrupt. `t_ns` is used when the byte is the first of a frame. */
void hc_rx_push(hc_rx_ring_t *ring, uint8_t byte, uint64_t t_ns);

/* In the loop. False when nothing waits. `t_ns` is when the byte's frame began. */
bool hc_rx_pop(hc_rx_ring_t *ring, uint8_t *byte, uint64_t *t_ns);

#endif
