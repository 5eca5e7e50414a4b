#include "boot.h"

#include <stdbool.h>

#include "flash.h"
#include "hc_crc32.h"
#include "rp2040.h"

#define RUNNING 0x68636263U /* scratch register 2 holds this while the program runs */
#define HAD_POR (1U << 8)
#define HAD_RUN (1U << 16)
#define REASON_TIMER (1U << 0)
#define REASON_FORCE (1U << 1)

/* The boot ROM too restarts the chip by the watchdog, once it has written an image: that is no hang. */
static handcap_ResetCause reset_cause(void) {
  bool ran = REGISTER(WATCHDOG_SCRATCH(2)) == RUNNING;
  REGISTER(WATCHDOG_SCRATCH(2)) = RUNNING;
  uint32_t reason = REGISTER(WATCHDOG_REASON);
  if ((reason & REASON_TIMER) != 0 && ran) {
    return handcap_ResetCause_RESET_CAUSE_WATCHDOG;
  }
  if ((reason & (REASON_TIMER | REASON_FORCE)) != 0) {
    return handcap_ResetCause_RESET_CAUSE_COMMAND;
  }
  uint32_t chip = REGISTER(CHIP_RESET);
  if ((chip & HAD_POR) != 0) {
    return handcap_ResetCause_RESET_CAUSE_POWER;
  }
  return (chip & HAD_RUN) != 0 ? handcap_ResetCause_RESET_CAUSE_PIN : handcap_ResetCause_RESET_CAUSE_UNKNOWN;
}

/* The ring oscillator's bits are biased and follow each other: many of them, mixed by the CRC. */
static uint32_t random_boot_id(uint64_t uid, uint32_t boot_count) {
  uint32_t id = hc_crc32(0, (const uint8_t *)&uid, sizeof uid);
  id = hc_crc32(id, (const uint8_t *)&boot_count, sizeof boot_count);
  for (uint32_t i = 0; i < 64; i++) {
    uint8_t bits = 0;
    for (uint32_t bit = 0; bit < 8; bit++) {
      bits = (uint8_t)(bits << 1 | (REGISTER(ROSC_RANDOMBIT) & 1U));
    }
    id = hc_crc32(id, &bits, 1);
  }
  return id != 0 ? id : 1U;
}

void boot_identify(hc_identity_t *identity) {
  identity->uid = flash_uid();
  identity->boot_count = flash_count_boot();
  identity->reset_cause = reset_cause();
  identity->boot_id = random_boot_id(identity->uid, identity->boot_count);
}

void watchdog_feed(void) {
  REGISTER(WATCHDOG_LOAD) = 2U * WATCHDOG_US; /* counts two per microsecond: erratum RP2040-E1 */
}

void watchdog_start(void) {
  REGISTER(WATCHDOG_CTRL) = 0;
  REGISTER(PSM_WDSEL) = 0x1fffcU; /* everything but the two oscillators */
  watchdog_feed();
  REGISTER(WATCHDOG_CTRL) = 1U << 30 | 7U << 24; /* on; paused while a debugger halts */
}

static uint32_t rom_word(uint32_t address) {
  __asm("" : "+r"(address)); /* else the compiler takes the ROM for a null pointer */
  return *(volatile const uint32_t *)address;
}

void reboot_to_bootloader(void) {
  typedef void *(*lookup_t)(const uint16_t *table, uint32_t code);
  typedef void (*usb_boot_t)(uint32_t activity_pin_mask, uint32_t disabled_interfaces);
  /* 2.8.3: half-words at fixed addresses of the ROM point to the function table and to the function that searches it. */
  if ((rom_word(0x10) & 0x00ffffffU) != 0x01754dU) { /* "Mu", 1 */
    return;
  }
  const uint16_t *table = (const uint16_t *)(rom_word(0x14) & 0xffffU);
  lookup_t lookup = (lookup_t)(rom_word(0x18) & 0xffffU);
  usb_boot_t usb_boot = (usb_boot_t)(uintptr_t)lookup(table, 'U' | 'B' << 8);
  if (usb_boot != 0) {
    REGISTER(WATCHDOG_SCRATCH(2)) = 0;
    usb_boot(0, 0);
  }
}
