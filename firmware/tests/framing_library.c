/* The board's framing as a library for Python's tests: no layout of a struct crosses the border. */
#include <string.h>

#include "hc_framing.h"

size_t library_frame(const uint8_t *message, size_t len, uint8_t *out);
size_t library_deframe(const uint8_t *bytes, size_t len, uint8_t *out, uint32_t losses[3]);

/* `message` of at most HC_FRAME_MAX bytes, framed. Returns the length. */
size_t library_frame(const uint8_t *message, size_t len, uint8_t *out) {
  uint8_t copy[HC_FRAME_MAX + HC_CRC_LEN];
  memcpy(copy, message, len);
  return hc_frame(copy, len, out);
}

/* The messages in a stream, each behind its length in two bytes, little endian. Losses: CRC, frame, too long. */
size_t library_deframe(const uint8_t *bytes, size_t len, uint8_t *out, uint32_t losses[3]) {
  static hc_deframer_t deframer;
  size_t written = 0;
  hc_deframer_init(&deframer);
  for (size_t i = 0; i < len; i++) {
    if (hc_deframer_push(&deframer, bytes[i])) {
      out[written++] = (uint8_t)deframer.len;
      out[written++] = (uint8_t)(deframer.len >> 8);
      memcpy(out + written, deframer.bytes, deframer.len);
      written += deframer.len;
    }
  }
  losses[0] = deframer.bad_crc;
  losses[1] = deframer.bad_frame;
  losses[2] = deframer.too_long;
  return written;
}
