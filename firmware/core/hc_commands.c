#include "hc_commands.h"

#include "hc_hal.h"

static const hc_ack_t done = {.outcome = handcap_Ack_Outcome_OUTCOME_DONE, .text = ""};

static hc_ack_t refused(const char *text) {
  return (hc_ack_t){.outcome = handcap_Ack_Outcome_OUTCOME_REFUSED, .text = text};
}

static hc_ack_t obeyed(bool well, const char *text_if_not) {
  return well ? done : (hc_ack_t){.outcome = handcap_Ack_Outcome_OUTCOME_FAILED, .text = text_if_not};
}

static hc_ack_t set_imu_rate(const handcap_SetImuRate *set) {
  uint32_t hz = set->rate_hz;
  if (hz != 100 && hz != 200 && hz != 500 && hz != 1000) {
    return refused("rate_hz: 100, 200, 500 or 1000");
  }
  return obeyed(hal_set_imu_rate(hz), "the inertial sensor did not take the rate");
}

static hc_ack_t set_trigger(const handcap_SetTrigger *set) {
  if (set->on) {
    if (set->rate_mhz < 1000 || set->rate_mhz > 240000) {
      return refused("rate_mhz: 1000 to 240000 (thousandths of a hertz)");
    }
    uint32_t period_us = 1000000000U / set->rate_mhz;
    if (set->exposure_us < 10 || set->exposure_us > period_us / 2U) {
      return refused("exposure_us: 10 to half a period");
    }
  }
  return obeyed(hal_set_trigger(set->on, set->rate_mhz, set->exposure_us), "the trigger did not start");
}

static hc_ack_t set_light(const handcap_Light *light) {
  if (light->red > 255 || light->green > 255 || light->blue > 255 || light->blink_ms > 60000) {
    return refused("red, green, blue: 0 to 255; blink_ms: 0 to 60000");
  }
  return obeyed(hal_set_light(light), "the light did not obey");
}

static hc_ack_t execute(hc_commands_t *commands, const handcap_Command *command) {
  switch (command->which_what) {
    case handcap_Command_identify_tag:
      commands->hello_wanted = true;
      return done;
    case handcap_Command_stream_tag:
      commands->streaming = command->what.stream.on;
      return done;
    case handcap_Command_set_imu_rate_tag:
      return set_imu_rate(&command->what.set_imu_rate);
    case handcap_Command_set_trigger_tag:
      return set_trigger(&command->what.set_trigger);
    case handcap_Command_light_tag:
      return set_light(&command->what.light);
    case handcap_Command_mark_take_start_tag:
      return obeyed(hal_mark_take_start(), "no trigger runs: SetTrigger first");
    case handcap_Command_reboot_to_bootloader_tag:
      commands->bootloader_wanted = true;
      return done;
    default:
      return (hc_ack_t){.outcome = handcap_Ack_Outcome_OUTCOME_NOT_KNOWN,
                        .text = "this firmware has no such command: run `handcap flash`"};
  }
}

hc_ack_t hc_command(hc_commands_t *commands, const handcap_Command *command) {
  if (command->id == 0) {
    return refused("id: 1 or more");
  }
  for (uint32_t i = 0; i < HC_COMMANDS_REMEMBERED; i++) {
    if (commands->done[i].id == command->id) {
      return commands->done[i];
    }
  }
  hc_ack_t ack = execute(commands, command);
  ack.id = command->id;
  commands->done[commands->next] = ack;
  commands->next = (commands->next + 1U) % HC_COMMANDS_REMEMBERED;
  return ack;
}
