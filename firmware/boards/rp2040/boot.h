/* Who this board is and why it started. */
#ifndef BOOT_H
#define BOOT_H
#include <stdint.h>

#include "hc_core.h"

#define WATCHDOG_US 500000U

/* Fills in uid, boot_id, boot_count and reset_cause. Call once, before watchdog_start. */
void boot_identify(hc_identity_t *identity);

void watchdog_start(void);
void watchdog_feed(void);

/* USB mass storage of the boot ROM; comes back where there is no boot ROM (an emulator without one). */
void reboot_to_bootloader(void);

#endif
