/* Framing: append CRC-32, then COBS, then a zero byte.
 * Pure: no clock, no allocation, no HAL; the host tests build this same file. */
#ifndef HC_FRAMING_H
#define HC_FRAMING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HC_FRAME_MAX 1024U /* encoded bytes before the zero */
#define HC_CRC_LEN 4U
/* COBS adds a byte to every 254 and one more at the front. */
#define HC_COBS_MAX(len) ((len) + (len) / 254U + 1U)

typedef struct {
  uint8_t bytes[HC_FRAME_MAX]; /* the message and its CRC, COBS undone */
  size_t len;                  /* of the message alone, once push says true */

  /* Every way in which a frame is lost is counted and reported. */
  uint32_t bad_crc;
  uint32_t bad_frame; /* not COBS, or nothing but a CRC */
  uint32_t too_long;

  size_t encoded;  /* bytes of this frame so far */
  uint8_t left;    /* bytes until the next code byte */
  bool zero_after; /* the block's end stands for a zero, unless the frame ends there */
} hc_deframer_t;

void hc_deframer_init(hc_deframer_t *d);

/* Feed one byte. True when d->bytes[0..len) holds a whole, checked message; it stays until the next call. */
bool hc_deframer_push(hc_deframer_t *d, uint8_t byte);

/* `message` must have room for its CRC behind `len` bytes, `out` for
 * HC_COBS_MAX(len + HC_CRC_LEN) + 1 bytes. Returns how many bytes to send, the zero included. */
size_t hc_frame(uint8_t *message, size_t len, uint8_t *out);

#endif
