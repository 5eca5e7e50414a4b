#include "h264_scan.h"

enum { NAL_SLICE = 1, NAL_IDR = 5 }; /* ITU-T H.264, table 7-1 */

bool h264_is_annex_b(const uint8_t *data, size_t size) {
  if (size < 5 || data[0] != 0 || data[1] != 0) {
    return false;
  }
  return data[2] == 1 || (data[2] == 0 && data[3] == 1);
}

bool h264_is_key(const uint8_t *data, size_t size) {
  for (size_t at = 0; at + 3 < size; at++) {
    if (data[at] != 0 || data[at + 1] != 0 || data[at + 2] != 1) {
      continue;
    }
    uint8_t nal = data[at + 3] & 0x1f;
    if (nal == NAL_IDR) {
      return true;
    }
    if (nal == NAL_SLICE) {
      return false; /* all slices of an access unit are of one kind here: no need to read on */
    }
  }
  return false;
}
