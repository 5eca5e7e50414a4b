/* A count of boots in a sector of flash: each boot turns one more bit from 1 to 0, which needs no erasing, so that a
 * supply that fails at any moment costs no more than this one bit. */
#ifndef BOOT_COUNT_H
#define BOOT_COUNT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_COUNT_SECTOR 4096U /* 32768 boots */

typedef struct {
  uint32_t count;   /* this boot included */
  bool erase_first; /* the sector holds something else */
  bool full;        /* no bit is left: the count stays */
  size_t at;        /* byte to program */
  uint8_t value;
} boot_count_t;

/* What to do with a sector as it reads now. */
boot_count_t boot_count_next(const uint8_t *sector);

#endif
