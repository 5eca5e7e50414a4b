/* Trigger pulses for cameras and the stamps of the frames they cause.
 *
 * Pulses stand on a grid of the set rate. The middle of the exposure is put on the grid, as VersaVIS does (Tschopp et
 * al., "VersaVIS", Sensors 2020, 20(5)), so that cameras of different exposure see the same moment: with a strobe line
 * from the exposure that the last frame really had, without one from the pulse's own length.
 *
 * Coded gaps let a host count again in a camera that has no frame numbers. A gap leaves out pulses of the grid:
 *   2 or 4  every 10 s, as the gap's code is even or odd
 *   6       at a take's start
 * All are even: a gap seen with an odd length has lost a frame at one of its ends, and nobody should anchor to it. None
 * is 1, which is what a lost frame looks like. Two gaps of the same length are 20 s apart, a thousand times what a host
 * can be wrong about a frame's arrival. FrameStamp.gap_code counts the gaps since boot, whatever their length. */
#ifndef CAMERA_TRIGGER_H
#define CAMERA_TRIGGER_H
#include <stdbool.h>
#include <stdint.h>

#include "handcap.pb.h"

#define CAMERA_TRIGGER_STAMPS 16U /* power of two; between interrupt and loop */
#define CAMERA_TRIGGER_GAP_PERIOD_S 10U
#define CAMERA_TRIGGER_GAP_EVEN 2U
#define CAMERA_TRIGGER_GAP_ODD 4U
#define CAMERA_TRIGGER_GAP_START 6U
#define CAMERA_TRIGGER_GAP_DISTANCE 5U /* at least so many pulses between two gaps */

typedef struct {
  bool on;
  bool high;                    /* the line */
  uint32_t step_us, step_rest;  /* a period is step_us + step_rest / rate_mhz microseconds */
  uint32_t rate_mhz, rest;
  uint32_t pulse_us;
  uint32_t lead_us;             /* from the pulse's start to the exposure's middle */
  uint64_t centre_us;           /* of the next pulse's exposure */
  uint64_t edge_us;             /* when the line changes next */

  uint32_t gap_left;            /* pulses still to be left out */
  uint32_t pulses_since_gap, pulses_per_gap;
  uint32_t gaps;                /* since boot */
  bool start_wanted;
  bool gap_ended;               /* the next pulse is the first after a gap */

  uint32_t pulses;              /* since boot */
  bool stamp_open;              /* a pulse was given and its stamp is not complete */
  bool strobe_high;
  uint64_t pulse_t_us;
  handcap_FrameStamp open;

  handcap_FrameStamp stamp[CAMERA_TRIGGER_STAMPS];
  volatile uint32_t written, read;
  volatile uint32_t dropped;
} camera_trigger_t;

/* Begin, or begin anew with other numbers. The first pulse comes one period from now; edge_us says when. */
void camera_trigger_start(camera_trigger_t *trigger, uint64_t now_us, uint32_t rate_mhz, uint32_t pulse_us);

/* No more pulses; the line is to be low. */
void camera_trigger_stop(camera_trigger_t *trigger);

/* The next gap marks a take's start. False when there are no pulses. */
bool camera_trigger_mark(camera_trigger_t *trigger);

/* In the timer's interrupt, at or after edge_us: returns what the line is to be now and moves edge_us on. */
bool camera_trigger_edge(camera_trigger_t *trigger, uint64_t now_us);

/* In the strobe line's interrupt. */
void camera_trigger_strobe(camera_trigger_t *trigger, uint64_t now_us, bool high);

/* In the loop: the next complete stamp. A pulse without strobe is complete when the next one begins. */
bool camera_trigger_pop(camera_trigger_t *trigger, handcap_FrameStamp *stamp);

#endif
