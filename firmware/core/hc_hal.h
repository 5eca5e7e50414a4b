/* What a board supplies to the core. Nothing here may block for longer than a turn of the main loop.
 * The tests supply a board of their own: firmware/tests/virtual_board.c. */
#ifndef HC_HAL_H
#define HC_HAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handcap.pb.h"

/* Time since boot. Never goes back. */
uint64_t hal_now_ns(void);

/* Each of these says whether the part obeyed. */
bool hal_set_imu_rate(uint32_t rate_hz);
bool hal_set_trigger(bool on, uint32_t rate_mhz, uint32_t exposure_us);
bool hal_mark_take_start(void);
bool hal_set_light(const handcap_Light *light);

/* Comes back only where the board has no bootloader. */
void hal_reboot_to_bootloader(void);

void hal_watchdog_feed(void);

/* Bytes of stack that were never touched since boot. */
uint32_t hal_stack_free_bytes(void);

/* The parts on the board and how they do. Returns how many. */
size_t hal_sensors(handcap_Sensor *sensors, size_t most);

/* Losses that the drivers and the links counted, all since boot. */
typedef struct {
  uint32_t imu_fifo_lost;
  uint32_t imu_invalid_samples;
  uint32_t imu_fifo_resets;
  uint32_t imu_stuck;
  uint32_t frame_stamps_dropped; /* between interrupt and loop */
  uint32_t rx_overruns;
  uint32_t encoder_read_errors;
} hc_losses_t;

void hal_losses(hc_losses_t *losses);

#endif
