/* Whatever a host sends, the core neither crashes nor writes beyond its memory, what it says is always a whole frame,
 * and a good command after all that is obeyed. */
#include <pb_decode.h>
#include <stdlib.h>
#include <string.h>

#include "virtual_board.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t out[HC_SENT_MAX];

static void check(bool holds) {
  if (!holds) {
    abort();
  }
}

static void receive_all(size_t link, const uint8_t *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) {
    hc_core_receive(&core, link, bytes[i], board.now_ns);
  }
}

/* Half of the inputs get a right frame and CRC around them: else few would ever reach the parser. */
static void receive_framed(const uint8_t *bytes, size_t len) {
  static uint8_t message[900 + HC_CRC_LEN], frame[HC_COBS_MAX(sizeof message) + 1];
  len = len < 900 ? len : 900;
  memcpy(message, bytes, len);
  receive_all(1, frame, hc_frame(message, len, frame));
}

/* Returns whether command `id` was acknowledged. */
static bool listen(uint32_t id) {
  static hc_deframer_t deframer;
  static handcap_Envelope envelope;
  hc_deframer_init(&deframer);
  bool acknowledged = false;
  for (size_t len; (len = hc_core_next_frame(&core, out)) > 0;) {
    check(len <= sizeof out && out[len - 1] == 0);
    bool whole = false;
    for (size_t i = 0; i < len; i++) {
      whole = hc_deframer_push(&deframer, out[i]);
    }
    check(whole);
    pb_istream_t stream = pb_istream_from_buffer(deframer.bytes, deframer.len);
    check(pb_decode(&stream, handcap_Envelope_fields, &envelope));
    acknowledged |= envelope.which_body == handcap_Envelope_ack_tag && envelope.body.ack.id == id;
  }
  return acknowledged;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  core_boot();
  if (size > 0 && data[0] % 2 == 1) {
    receive_framed(data + 1, size - 1);
  } else if (size > 0) {
    receive_all(0, data + 1, size - 1);
  }
  board.now_ns += 1500000000U;
  (void)listen(0);
  hc_core_receive(&core, 0, 0, board.now_ns);
  host_commands(&(handcap_Command){.id = 0xfeedf00dU, .which_what = handcap_Command_identify_tag});
  check(listen(0xfeedf00dU));
  return 0;
}
