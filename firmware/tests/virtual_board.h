/* A board whose clock moves only when a test says so, and which notes what it was told. */
#ifndef VIRTUAL_BOARD_H
#define VIRTUAL_BOARD_H
/* cmocka wants these four before itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hc_core.h"
#include "hc_hal.h"

typedef struct {
  uint64_t now_ns;
  uint64_t tick_ns; /* each look at the clock costs so much */
  hc_losses_t losses;
  uint32_t losses_asked;
  bool obeys;
  handcap_Sensor sensors[6];
  size_t sensor_count;

  uint32_t calls; /* of any part */
  uint32_t imu_rate_hz;
  handcap_SetTrigger trigger;
  uint32_t take_starts;
  handcap_Light light;
  uint32_t bootloader_reboots;
  uint32_t watchdog_feeds;
} virtual_board_t;

extern virtual_board_t board;

void virtual_board_reset(void);

/* A core that has just booted on this board, and a host for it. */
extern hc_core_t core;
void core_boot(void);
void core_boot_again(void); /* the board's clock and parts stay as they are */

/* The host sends: framed, byte by byte. Times are those of the frame's first byte. */
void host_sends(const handcap_Envelope *envelope, uint64_t frame_t_ns);
void host_commands(const handcap_Command *command);
void host_streams(bool on);

/* The core's next message, deframed and decoded by means of its own; false when it has nothing to say. */
bool core_says(handcap_Envelope *envelope);

/* The same, until a message of that kind comes. Fails the test when none does. */
handcap_Envelope core_says_kind(pb_size_t tag);

/* How many messages of that kind wait; all are taken. */
uint32_t core_says_count(pb_size_t tag);

#endif
