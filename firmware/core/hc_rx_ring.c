#include "hc_rx_ring.h"

void hc_rx_push(hc_rx_ring_t *ring, uint8_t byte, uint64_t t_ns) {
  bool first = byte != 0 && !ring->inside_frame;
  bool no_byte_left = ring->written - ring->read >= HC_RX_BYTES;
  bool no_frame_left = first && ring->frames_begun - ring->frames_read >= HC_RX_FRAMES;
  if (no_byte_left || no_frame_left) {
    ring->overruns++; /* the CRC rejects what is left of the frame */
    return;
  }
  if (first) {
    ring->frame_t_ns[ring->frames_begun % HC_RX_FRAMES] = t_ns;
    ring->frames_begun++;
  }
  ring->inside_frame = byte != 0;
  ring->bytes[ring->written % HC_RX_BYTES] = byte;
  ring->written++;
}

bool hc_rx_pop(hc_rx_ring_t *ring, uint8_t *byte, uint64_t *t_ns) {
  if (ring->read == ring->written) {
    return false;
  }
  *byte = ring->bytes[ring->read % HC_RX_BYTES];
  if (*byte != 0 && !ring->reading_frame) {
    ring->t_ns = ring->frame_t_ns[ring->frames_read % HC_RX_FRAMES];
    ring->frames_read++;
  }
  ring->reading_frame = *byte != 0;
  *t_ns = ring->t_ns;
  ring->read++;
  return true;
}
