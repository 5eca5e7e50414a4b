#include "flash.h"

#include <stdbool.h>
#include <stddef.h>

#include "boot_count.h"
#include "rp2040.h"

/* Commands that every QSPI NOR chip knows. */
enum {
  PAGE_PROGRAM = 0x02,
  READ_STATUS = 0x05,
  WRITE_ENABLE = 0x06,
  SECTOR_ERASE = 0x20,
  READ_UNIQUE_ID = 0x4b,
};

#define STATUS_BUSY 1U
#define XIP_NO_CACHE 0x13000000U /* the flash as it is, past the cache */

/* All that follows up to send_command runs in RAM and reads nothing outside of it, constants included (hence arrays
 * without const): while the interface is taken apart, and while the chip is busy, there is no program in the flash. */
#define IN_RAM __attribute__((section(".ram_code"), noinline))

IN_RAM static uint8_t exchange(uint8_t out) {
  REGISTER(SSI_DR0) = out;
  while ((REGISTER(SSI_SR) & SSI_SR_RFNE) == 0) {
  }
  return (uint8_t)REGISTER(SSI_DR0);
}

IN_RAM static void transfer(const uint8_t *out, uint8_t *in, size_t len) {
  REGISTER(QSPI_SS_CTRL) = QSPI_SS_OUT_LOW; /* by hand: the interface would let go between bytes */
  for (size_t i = 0; i < len; i++) {
    in[i] = exchange(out[i]);
  }
  REGISTER(QSPI_SS_CTRL) = QSPI_SS_OUT_HIGH;
}

/* Send `out`, put what comes meanwhile at `in`, and come back once the chip is no longer busy. */
IN_RAM static void send_command(const uint8_t *out, uint8_t *in, size_t len) {
  uint32_t ctrlr0 = REGISTER(SSI_CTRLR0);
  REGISTER(SSI_SSIENR) = 0;
  REGISTER(SSI_CTRLR0) = 7U << 16; /* 8-bit frames, both directions */
  REGISTER(SSI_SSIENR) = 1;
  transfer(out, in, len);
  uint8_t status[2];
  do {
    uint8_t ask[2] = {READ_STATUS, 0};
    transfer(ask, status, sizeof ask);
  } while ((status[1] & STATUS_BUSY) != 0);
  REGISTER(SSI_SSIENR) = 0;
  REGISTER(SSI_CTRLR0) = ctrlr0;
  REGISTER(SSI_SSIENR) = 1;
  REGISTER(QSPI_SS_CTRL) = 0;
}

static void command(const uint8_t *out, uint8_t *in, size_t len) {
  uint32_t before = interrupts_off();
  send_command(out, in, len);
  interrupts_restore(before);
}

uint64_t flash_uid(void) {
  uint8_t out[13] = {READ_UNIQUE_ID}; /* four bytes of nothing, then the id */
  uint8_t in[13];
  command(out, in, sizeof out);
  uint64_t uid = 0;
  for (size_t i = 5; i < sizeof in; i++) {
    uid = uid << 8 | in[i];
  }
  return uid;
}

static void write(uint8_t what, uint32_t address, const uint8_t *byte) {
  uint8_t enable[1] = {WRITE_ENABLE};
  uint8_t out[5] = {what, (uint8_t)(address >> 16), (uint8_t)(address >> 8), (uint8_t)address,
                          byte != NULL ? *byte : 0};
  uint8_t in[5];
  command(enable, in, sizeof enable);
  command(out, in, byte != NULL ? 5 : 4);
}

uint32_t flash_count_boot(void) {
  const uint8_t *sector = (const uint8_t *)(uintptr_t)(XIP_NO_CACHE + FLASH_BOOT_COUNT);
  boot_count_t next = boot_count_next(sector);
  if (next.erase_first) {
    write(SECTOR_ERASE, FLASH_BOOT_COUNT, NULL);
  }
  if (!next.full) {
    write(PAGE_PROGRAM, FLASH_BOOT_COUNT + (uint32_t)next.at, &next.value);
  }
  return next.count;
}
