/* The board's side of the wire: what came in is taken up, what is to be said is said in order of its worth.
 * No heap and no clock but hal_now_ns; the whole state is one hc_core_t. */
#ifndef HC_CORE_H
#define HC_CORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handcap.pb.h"
#include "hc_commands.h"
#include "hc_framing.h"
#include "hc_imu_queue.h"

#define HC_LINKS 2U /* serial line and USB */
#define HC_SYNCS 4U
#define HC_ACKS 8U
#define HC_BUTTONS 8U
#define HC_STAMPS 32U
#define HC_ANGLES 64U
#define HC_ENCODER_BATCH 10U
#define HC_STATUS_PERIOD_NS 1000000000U
#define HC_STATUS_LOSS_PERIOD_NS 100000000U /* not a flood of Status where something is lost all the time */
#define HC_LOSSES_PERIOD_NS 10000000U /* how often they are looked at */
#define HC_SENT_MAX (HC_COBS_MAX(handcap_Envelope_size + HC_CRC_LEN) + 1U)

/* Indices of a ring of `size` places; the places themselves stand beside it. */
typedef struct {
  uint32_t written, read; /* count up for ever */
} hc_ring_t;

typedef struct {
  uint64_t uid;
  uint32_t boot_id;
  uint32_t boot_count;
  handcap_ResetCause reset_cause;
  const char *board;
  const char *firmware_version;
  const char *git_hash;
} hc_identity_t;

typedef struct {
  uint16_t counts;
  bool magnet_found, magnet_too_weak, magnet_too_strong;
} hc_angle_t;

/* What goes with every ImuBatch. */
typedef struct {
  uint32_t period_ns; /* measured */
  double gyro_scale, accel_scale;
  float temperature_c;
} hc_imu_traits_t;

typedef struct {
  hc_identity_t identity;
  uint32_t seq;

  hc_deframer_t deframer[HC_LINKS];
  uint32_t rx_not_a_message;
  hc_commands_t commands;
  bool hello_pending;

  hc_ring_t syncs;
  handcap_SyncResponse sync[HC_SYNCS];
  hc_ring_t acks;
  hc_ack_t ack[HC_ACKS];
  hc_ring_t buttons;
  handcap_Button button[HC_BUTTONS];
  hc_ring_t stamps;
  handcap_FrameStamp stamp[HC_STAMPS];
  hc_ring_t angles;
  hc_angle_t angle[HC_ANGLES];
  uint64_t angle_t_ns[HC_ANGLES];
  uint32_t angle_period_ns;
  hc_imu_queue_t imu;
  hc_imu_traits_t imu_traits;

  uint32_t stamps_dropped;
  uint32_t messages_dropped;
  uint32_t loop_late_us_max;
  uint64_t status_t_ns;
  uint64_t losses_seen_t_ns;
  uint64_t wake_t_ns;
  uint32_t losses_told; /* sum of all counts in the last Status */

  handcap_Envelope heard, said; /* static: too large for the stack */
  uint8_t message[handcap_Envelope_size + HC_CRC_LEN];
} hc_core_t;

void hc_core_init(hc_core_t *core, const hc_identity_t *identity);

/* A byte of the host. `frame_t_ns`: when the first byte of its frame was received. */
void hc_core_receive(hc_core_t *core, size_t link, uint8_t byte, uint64_t frame_t_ns);

/* What the drivers have. Samples and stamps are thrown away while nobody wants a stream. */
void hc_core_imu_traits(hc_core_t *core, const hc_imu_traits_t *traits);
void hc_core_imu(hc_core_t *core, uint64_t t_ns, const hc_imu_sample_t *sample);
void hc_core_stamp(hc_core_t *core, const handcap_FrameStamp *stamp);
void hc_core_angle(hc_core_t *core, uint64_t t_ns, uint32_t period_ns, const hc_angle_t *angle);
void hc_core_button(hc_core_t *core, const handcap_Button *button);

/* Around each turn of the main loop: feeds the watchdog and measures how long the turn takes. */
uint64_t hc_core_wake(hc_core_t *core); /* returns the time */
void hc_core_rest(hc_core_t *core);

/* The next frame to send, framed and ready, or 0 when there is nothing to say. Call it only when the link is idle:
 * the answer to a SyncRequest is stamped here. `out` has room for HC_SENT_MAX bytes. */
size_t hc_core_next_frame(hc_core_t *core, uint8_t *out);

#endif
