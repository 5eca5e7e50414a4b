#include "camera_trigger.h"

static void advance_grid(camera_trigger_t *trigger) {
  trigger->centre_us += trigger->step_us;
  trigger->rest += trigger->step_rest;
  if (trigger->rest >= trigger->rate_mhz) { /* no rounding error grows: 30 Hz stays 30 Hz for hours */
    trigger->rest -= trigger->rate_mhz;
    trigger->centre_us++;
  }
}

static void put_stamp(camera_trigger_t *trigger) {
  if (!trigger->stamp_open) {
    return;
  }
  trigger->stamp_open = false;
  if (trigger->written - trigger->read >= CAMERA_TRIGGER_STAMPS) {
    trigger->dropped++;
    return;
  }
  trigger->stamp[trigger->written % CAMERA_TRIGGER_STAMPS] = trigger->open;
  trigger->written++;
}

void camera_trigger_start(camera_trigger_t *trigger, uint64_t now_us, uint32_t rate_mhz, uint32_t pulse_us) {
  put_stamp(trigger);
  trigger->rate_mhz = rate_mhz;
  trigger->step_us = 1000000000U / rate_mhz;
  trigger->step_rest = 1000000000U % rate_mhz;
  trigger->rest = 0;
  trigger->pulse_us = pulse_us;
  trigger->lead_us = pulse_us / 2U;
  trigger->centre_us = now_us + trigger->step_us;
  trigger->edge_us = trigger->centre_us - trigger->lead_us;
  trigger->pulses_per_gap = CAMERA_TRIGGER_GAP_PERIOD_S * rate_mhz / 1000U;
  trigger->pulses_since_gap = 0;
  trigger->gap_left = 0;
  trigger->gap_ended = false;
  trigger->start_wanted = false;
  trigger->high = false;
  trigger->on = true;
}

void camera_trigger_stop(camera_trigger_t *trigger) {
  put_stamp(trigger);
  trigger->on = false;
  trigger->high = false;
}

bool camera_trigger_mark(camera_trigger_t *trigger) {
  trigger->start_wanted = trigger->on;
  return trigger->on;
}

/* Whether the place on the grid that has come is left out. */
static bool in_gap(camera_trigger_t *trigger) {
  if (trigger->gap_left == 0) {
    bool start = trigger->start_wanted && trigger->pulses_since_gap >= CAMERA_TRIGGER_GAP_DISTANCE;
    if (!start && trigger->pulses_since_gap < trigger->pulses_per_gap) {
      return false;
    }
    trigger->gaps++;
    trigger->gap_left = start                     ? CAMERA_TRIGGER_GAP_START
                        : trigger->gaps % 2U != 0 ? CAMERA_TRIGGER_GAP_ODD
                                                  : CAMERA_TRIGGER_GAP_EVEN;
    trigger->start_wanted = trigger->start_wanted && !start;
    trigger->pulses_since_gap = 0;
  }
  trigger->gap_left--;
  trigger->gap_ended = trigger->gap_left == 0;
  return true;
}

static void begin_pulse(camera_trigger_t *trigger, uint64_t now_us) {
  put_stamp(trigger);
  trigger->pulses++;
  trigger->pulses_since_gap++;
  trigger->pulse_t_us = now_us;
  trigger->open = (handcap_FrameStamp){
      .frame = trigger->pulses,
      .exposure_start_t_ns = now_us * 1000U,
      .gap_before = trigger->gap_ended,
      .gap_code = trigger->gaps,
  };
  trigger->gap_ended = false;
  trigger->stamp_open = true;
  trigger->strobe_high = false;
}

bool camera_trigger_edge(camera_trigger_t *trigger, uint64_t now_us) {
  if (!trigger->on || now_us < trigger->edge_us) {
    return trigger->high;
  }
  if (trigger->high) {
    trigger->high = false;
  } else if (in_gap(trigger)) {
    put_stamp(trigger);
    advance_grid(trigger);
  } else {
    trigger->high = true;
    begin_pulse(trigger, now_us);
    advance_grid(trigger);
    trigger->edge_us = now_us + trigger->pulse_us;
    return true;
  }
  trigger->edge_us = trigger->centre_us - trigger->lead_us;
  return false;
}

void camera_trigger_strobe(camera_trigger_t *trigger, uint64_t now_us, bool high) {
  if (!trigger->stamp_open || high == trigger->strobe_high) {
    return;
  }
  trigger->strobe_high = high;
  if (high) {
    trigger->open.exposure_start_t_ns = now_us * 1000U;
    return;
  }
  uint32_t exposure_us = (uint32_t)(now_us - trigger->open.exposure_start_t_ns / 1000U);
  trigger->open.strobe_seen = true;
  trigger->open.exposure_ns = exposure_us * 1000U;
  uint32_t lead_us = (uint32_t)(trigger->open.exposure_start_t_ns / 1000U - trigger->pulse_t_us) + exposure_us / 2U;
  /* Half a period at most, so that a pulse never begins within the one before it. */
  trigger->lead_us = lead_us < trigger->step_us / 2U ? lead_us : trigger->step_us / 2U;
  put_stamp(trigger);
}

bool camera_trigger_pop(camera_trigger_t *trigger, handcap_FrameStamp *stamp) {
  if (trigger->read == trigger->written) {
    return false;
  }
  *stamp = trigger->stamp[trigger->read % CAMERA_TRIGGER_STAMPS];
  trigger->read++;
  return true;
}
