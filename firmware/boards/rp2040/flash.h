/* What else the flash chip is asked for: its unique id, and to remember how often the board has booted. */
#ifndef FLASH_H
#define FLASH_H
#include <stdint.h>

#define FLASH_BOOT_COUNT 0x10000U /* the sector behind the 64 KiB of the image; a new image's UF2 has it erased */

uint64_t flash_uid(void);

/* Counts this boot. The count outlives resets and loss of power; flashing the board begins it anew. */
uint32_t flash_count_boot(void);

#endif
