#include "boot_count.h"

static bool erased_from(const uint8_t *sector, size_t at) {
  for (; at < BOOT_COUNT_SECTOR; at++) {
    if (sector[at] != 0xffU) {
      return false;
    }
  }
  return true;
}

/* Bits counted in a byte, from the lowest on: 0xff 0xfe 0xfc ... 0x00; more than 8 for any other byte. */
static uint32_t bits_counted(uint8_t byte) {
  uint32_t bits = 0;
  while (bits <= 8U && byte != (uint8_t)(0xffU << bits)) {
    bits++;
  }
  return bits;
}

boot_count_t boot_count_next(const uint8_t *sector) {
  size_t at = 0;
  while (at < BOOT_COUNT_SECTOR && sector[at] == 0) {
    at++;
  }
  if (at == BOOT_COUNT_SECTOR) {
    return (boot_count_t){.count = 8U * BOOT_COUNT_SECTOR, .full = true};
  }
  uint32_t bits = bits_counted(sector[at]);
  if (bits > 8U || !erased_from(sector, at + 1U)) {
    return (boot_count_t){.count = 1, .erase_first = true, .at = 0, .value = 0xfe};
  }
  return (boot_count_t){.count = 8U * (uint32_t)at + bits + 1U, .at = at, .value = (uint8_t)(0xfeU << bits)};
}
