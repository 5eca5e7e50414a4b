/* What an H.264 access unit (Annex B) can stand on. */
#ifndef HC_NODE_H264_SCAN_H
#define HC_NODE_H264_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does it start with a start code? */
bool h264_is_annex_b(const uint8_t *data, size_t size);

/* Does it hold an instantaneous refresh, so that decoding can begin here? */
bool h264_is_key(const uint8_t *data, size_t size);

#endif
