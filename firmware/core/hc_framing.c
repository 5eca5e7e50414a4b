#include "hc_framing.h"

#include <string.h>

#include "hc_crc32.h"

static void begin_frame(hc_deframer_t *d) {
  d->len = 0;
  d->left = 0;
  d->zero_after = false;
}

void hc_deframer_init(hc_deframer_t *d) {
  memset(d, 0, sizeof *d);
}

static uint32_t little_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* At a frame's zero: is what came before it a message? Counts why not. */
static bool end_frame(hc_deframer_t *d) {
  if (d->encoded > HC_FRAME_MAX) {
    d->too_long++;
    return false;
  }
  if (d->left != 0 || d->len <= HC_CRC_LEN) {
    d->bad_frame++;
    return false;
  }
  d->len -= HC_CRC_LEN;
  if (little_endian(d->bytes + d->len) != hc_crc32(0, d->bytes, d->len)) {
    d->bad_crc++;
    return false;
  }
  return true;
}

bool hc_deframer_push(hc_deframer_t *d, uint8_t byte) {
  if (byte == 0) {
    /* Zeros alone are idle line, not damage: a host may send one first to end what noise began. */
    bool whole = d->encoded != 0 && end_frame(d);
    d->encoded = 0;
    return whole;
  }
  if (d->encoded == 0) {
    begin_frame(d);
  }
  if (d->encoded <= HC_FRAME_MAX) { /* one more than that is enough to know: endless bytes must not wrap round */
    d->encoded++;
  }
  if (d->encoded > HC_FRAME_MAX) {
    return false;
  }
  /* Never past the buffer's end: each decoded byte has at least one encoded byte of its own. */
  if (d->left != 0) {
    d->bytes[d->len++] = byte;
    d->left--;
    return false;
  }
  if (d->zero_after) {
    d->bytes[d->len++] = 0;
  }
  d->left = (uint8_t)(byte - 1U);
  d->zero_after = byte != 0xffU;
  return false;
}

static size_t cobs_encode(const uint8_t *in, size_t len, uint8_t *out) {
  size_t code_at = 0;
  size_t written = 1;
  uint8_t code = 1;
  for (size_t i = 0; i < len; i++) {
    if (in[i] != 0) {
      out[written++] = in[i];
      code++;
    }
    /* A full block that ends the message needs no empty one behind it. */
    if (in[i] == 0 || (code == 0xffU && i + 1 < len)) {
      out[code_at] = code;
      code_at = written++;
      code = 1;
    }
  }
  out[code_at] = code;
  return written;
}

size_t hc_frame(uint8_t *message, size_t len, uint8_t *out) {
  uint32_t crc = hc_crc32(0, message, len);
  for (size_t i = 0; i < HC_CRC_LEN; i++) {
    message[len + i] = (uint8_t)(crc >> (8U * i));
  }
  size_t written = cobs_encode(message, len + HC_CRC_LEN, out);
  out[written++] = 0;
  return written;
}
