#include "jpeg_encode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#define ROWS 8 /* of one block: what libjpeg takes at a time when chroma is not thinned vertically */

typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf failed;
} error_t;

static void on_error(j_common_ptr jpeg) {
  error_t *error = (error_t *)jpeg->err;
  longjmp(error->failed, 1);
}

static void on_message(j_common_ptr jpeg) {
  (void)jpeg;
}

static uint8_t clamp(int value) {
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Full range from limited range, ITU-R BT.601: 219 steps of luma, 224 of chroma about 128. */
static void range_tables(bool limited, uint8_t luma[256], uint8_t chroma[256]) {
  for (int value = 0; value < 256; value++) {
    luma[value] = limited ? clamp(((value - 16) * 255 + 109) / 219) : (uint8_t)value;
    chroma[value] = limited ? clamp(128 + (value - 128) * 255 / 224) : (uint8_t)value;
  }
}

static size_t row_bytes(const raw_format_t *format) {
  return format->kind == RAW_YUYV ? (size_t)format->width * 2 : format->width;
}

typedef struct {
  const raw_format_t *format;
  uint8_t luma[256], chroma[256];
  uint8_t *planes; /* ROWS rows of Y, then of Cb, then of Cr */
  size_t y_width, c_width;
} raw_t;

static void split_row(const raw_t *raw, const uint8_t *from, uint8_t *y, uint8_t *cb, uint8_t *cr) {
  size_t width = raw->format->width;
  if (raw->format->kind == RAW_GREY) {
    for (size_t x = 0; x < width; x++) {
      y[x] = raw->luma[from[x]];
    }
  } else {
    for (size_t x = 0; x + 1 < width; x += 2, from += 4) {
      y[x] = raw->luma[from[0]];
      y[x + 1] = raw->luma[from[2]];
      cb[x / 2] = raw->chroma[from[1]];
      cr[x / 2] = raw->chroma[from[3]];
    }
  }
  for (size_t x = width; x < raw->y_width; x++) {
    y[x] = y[width - 1];
  }
  if (raw->format->kind == RAW_GREY) {
    return;
  }
  for (size_t x = width / 2; x < raw->c_width; x++) {
    cb[x] = cb[width / 2 - 1];
    cr[x] = cr[width / 2 - 1];
  }
}

static void write_blocks(struct jpeg_compress_struct *jpeg, const raw_t *raw, const uint8_t *data) {
  const raw_format_t *format = raw->format;
  JSAMPROW y[ROWS], cb[ROWS], cr[ROWS];
  JSAMPARRAY planes[3] = {y, cb, cr};
  uint8_t *cb_plane = raw->planes + ROWS * raw->y_width, *cr_plane = cb_plane + ROWS * raw->c_width;
  for (size_t row = 0; row < ROWS; row++) {
    y[row] = raw->planes + row * raw->y_width;
    cb[row] = cb_plane + row * raw->c_width;
    cr[row] = cr_plane + row * raw->c_width;
  }
  while (jpeg->next_scanline < format->height) {
    for (size_t row = 0; row < ROWS; row++) {
      size_t source = jpeg->next_scanline + row;
      if (source >= format->height) {
        source = format->height - 1;
      }
      split_row(raw, data + source * format->stride, y[row], cb[row], cr[row]);
    }
    jpeg_write_raw_data(jpeg, planes, ROWS);
  }
}

static void set_up(struct jpeg_compress_struct *jpeg, const raw_format_t *format) {
  bool grey = format->kind == RAW_GREY;
  jpeg->image_width = format->width;
  jpeg->image_height = format->height;
  jpeg->input_components = grey ? 1 : 3;
  jpeg->in_color_space = grey ? JCS_GRAYSCALE : JCS_YCbCr;
  jpeg_set_defaults(jpeg);
  jpeg_set_quality(jpeg, format->quality, TRUE);
  jpeg->raw_data_in = TRUE;
  jpeg->dct_method = JDCT_ISLOW;
  jpeg->comp_info[0].h_samp_factor = grey ? 1 : 2;
  jpeg->comp_info[0].v_samp_factor = 1;
}

static bool fits(const raw_format_t *format, size_t size) {
  if (format->width == 0 || format->height == 0 || format->width > 16384 || format->height > 16384) {
    return false;
  }
  if (format->kind == RAW_YUYV && format->width % 2 != 0) {
    return false;
  }
  if (format->stride < row_bytes(format)) {
    return false;
  }
  return size >= (format->height - 1) * format->stride + row_bytes(format);
}

picture_t *jpeg_encode(const raw_format_t *format, const uint8_t *data, size_t size) {
  if (!fits(format, size)) {
    return NULL;
  }
  raw_t raw = {.format = format, .y_width = ((size_t)format->width + 15) / 16 * 16};
  raw.c_width = raw.y_width / 2;
  range_tables(format->limited_range, raw.luma, raw.chroma);
  raw.planes = calloc(ROWS, raw.y_width + 2 * raw.c_width);
  if (raw.planes == NULL) {
    return NULL;
  }

  struct jpeg_compress_struct jpeg = {0};
  error_t error = {0};
  unsigned char *bytes = NULL;
  unsigned long count = 0;
  picture_t *volatile picture = NULL;
  jpeg.err = jpeg_std_error(&error.base);
  error.base.error_exit = on_error;
  error.base.output_message = on_message;
  if (setjmp(error.failed) == 0) {
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &count);
    set_up(&jpeg, format);
    jpeg_start_compress(&jpeg, TRUE);
    write_blocks(&jpeg, &raw, data);
    jpeg_finish_compress(&jpeg);
    picture = picture_new(bytes, count);
  }
  jpeg_destroy_compress(&jpeg);
  free(bytes);
  free(raw.planes);
  if (picture == NULL) {
    return NULL;
  }
  picture->encoding = ENCODING_MJPEG;
  picture->width = format->width;
  picture->height = format->height;
  return picture;
}
