/* CRC-32 as zlib computes it: reflected 0x04C11DB7, all ones in and out. */
#ifndef HC_CRC32_H
#define HC_CRC32_H
#include <stddef.h>
#include <stdint.h>

/* Continue from `crc`, which is 0 for a new message. */
uint32_t hc_crc32(uint32_t crc, const uint8_t *bytes, size_t len);

#endif
