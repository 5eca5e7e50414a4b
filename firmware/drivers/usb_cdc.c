#include "usb_cdc.h"

#include <string.h>

enum { DESCRIPTOR_DEVICE = 1, DESCRIPTOR_CONFIGURATION = 2, DESCRIPTOR_STRING = 3 };
enum { TEXT_LANGUAGES, TEXT_MANUFACTURER, TEXT_PRODUCT, TEXT_SERIAL };

#define LOW(value) (uint8_t)((value) & 0xffU)
#define HIGH(value) (uint8_t)((value) >> 8U)
#define CONFIGURATION_LEN 75U

static const uint8_t device_descriptor[18] = {
    18, DESCRIPTOR_DEVICE,
    0x00, 0x02,       /* USB 2.0 */
    0xef, 0x02, 0x01, /* functions are told by interface associations */
    USB_CDC_PACKET,
    LOW(USB_CDC_VENDOR), HIGH(USB_CDC_VENDOR), LOW(USB_CDC_PRODUCT), HIGH(USB_CDC_PRODUCT),
    0x00, 0x01,       /* device release 1.0 */
    TEXT_MANUFACTURER, TEXT_PRODUCT, TEXT_SERIAL,
    1,                /* configuration */
};

static const uint8_t configuration_descriptor[CONFIGURATION_LEN] = {
    9, DESCRIPTOR_CONFIGURATION, CONFIGURATION_LEN, 0, 2, 1, 0,
    0x80, 100,                                 /* from the bus, 200 mA */
    8, 11, 0, 2, 2, 2, 0, 0,                   /* association: interfaces 0 and 1 are one CDC ACM function */
    9, 4, 0, 0, 1, 2, 2, 0, 0,                 /* interface 0: CDC, abstract control model */
    5, 0x24, 0, 0x20, 0x01,                    /* header: CDC 1.2 */
    5, 0x24, 1, 0, 1,                          /* no call management */
    4, 0x24, 2, 2,                             /* line coding and line state */
    5, 0x24, 6, 0, 1,                          /* union of both interfaces */
    7, 5, 0x80 | USB_CDC_ENDPOINT_NOTIFY, 3, 8, 0, 16,
    9, 4, 1, 0, 2, 10, 0, 0, 0,                /* interface 1: data */
    7, 5, USB_CDC_ENDPOINT_DATA, 2, USB_CDC_PACKET, 0, 0,
    7, 5, 0x80 | USB_CDC_ENDPOINT_DATA, 2, USB_CDC_PACKET, 0, 0,
};

/* bmRequestType and bRequest in one number. Requests of the class are taken whatever they are addressed to: there is one
 * interface that they can mean. */
enum {
  GET_STATUS_DEVICE = 0x8000,
  GET_STATUS_INTERFACE = 0x8100,
  GET_STATUS_ENDPOINT = 0x8200,
  CLEAR_FEATURE_ENDPOINT = 0x0201,
  SET_ADDRESS = 0x0005,
  GET_DESCRIPTOR = 0x8006,
  GET_CONFIGURATION = 0x8008,
  SET_CONFIGURATION = 0x0009,
  GET_INTERFACE = 0x810a,
  SET_INTERFACE = 0x010b,
  SET_LINE_CODING = 0x2020,
  GET_LINE_CODING = 0xa021,
  SET_CONTROL_LINE_STATE = 0x2022,
  SEND_BREAK = 0x2023,
};

void usb_cdc_start(usb_cdc_t *usb, uint64_t uid) {
  static const uint8_t line_coding[7] = {0x00, 0x10, 0x0e, 0x00, 0, 0, 8}; /* 921600 8N1; means nothing here */
  memset(usb, 0, sizeof *usb);
  usb->uid = uid;
  memcpy(usb->line_coding, line_coding, sizeof line_coding);
}

void usb_cdc_reset(usb_cdc_t *usb) {
  usb->address = 0;
  usb->configuration = 0;
  usb->opened = false;
}

static usb_cdc_answer_t send(const uint8_t *bytes, size_t len, size_t asked) {
  return (usb_cdc_answer_t){.kind = USB_CDC_SEND, .bytes = bytes, .len = len < asked ? len : asked};
}

static const usb_cdc_answer_t stall = {.kind = USB_CDC_STALL};
static const usb_cdc_answer_t done = {.kind = USB_CDC_DONE};

static usb_cdc_answer_t send_byte(usb_cdc_t *usb, uint8_t byte, size_t len, size_t asked) {
  usb->answer[0] = byte;
  usb->answer[1] = 0;
  return send(usb->answer, len, asked);
}

/* UTF-16, little endian. */
static usb_cdc_answer_t send_text(usb_cdc_t *usb, const char *text, size_t asked) {
  size_t len = 2;
  for (size_t i = 0; text[i] != 0; i++) {
    usb->answer[len++] = (uint8_t)text[i];
    usb->answer[len++] = 0;
  }
  usb->answer[0] = (uint8_t)len;
  usb->answer[1] = DESCRIPTOR_STRING;
  return send(usb->answer, len, asked);
}

static usb_cdc_answer_t send_serial(usb_cdc_t *usb, size_t asked) {
  char digits[USB_CDC_UID_DIGITS + 1U];
  for (size_t i = 0; i < USB_CDC_UID_DIGITS; i++) {
    digits[i] = "0123456789abcdef"[usb->uid >> (4U * (USB_CDC_UID_DIGITS - 1U - i)) & 15U];
  }
  digits[USB_CDC_UID_DIGITS] = 0;
  return send_text(usb, digits, asked);
}

static usb_cdc_answer_t send_descriptor(usb_cdc_t *usb, uint8_t type, uint8_t index, size_t asked) {
  static const uint8_t languages[] = {4, DESCRIPTOR_STRING, 0x09, 0x04}; /* English (United States) */
  if (type == DESCRIPTOR_DEVICE) {
    return send(device_descriptor, sizeof device_descriptor, asked);
  }
  if (type == DESCRIPTOR_CONFIGURATION && index == 0) {
    return send(configuration_descriptor, sizeof configuration_descriptor, asked);
  }
  if (type != DESCRIPTOR_STRING) {
    return stall; /* among others the qualifier: a full-speed device has none */
  }
  switch (index) {
    case TEXT_LANGUAGES:
      return send(languages, sizeof languages, asked);
    case TEXT_MANUFACTURER:
      return send_text(usb, "handcap", asked);
    case TEXT_PRODUCT:
      return send_text(usb, "handcap rp2040", asked);
    case TEXT_SERIAL:
      return send_serial(usb, asked);
    default:
      return stall;
  }
}

static usb_cdc_answer_t set_configuration(usb_cdc_t *usb, uint16_t value) {
  if (value > 1) {
    return stall;
  }
  usb->configuration = (uint8_t)value;
  usb->opened = false;
  return done;
}

usb_cdc_answer_t usb_cdc_setup(usb_cdc_t *usb, const uint8_t *setup) {
  uint16_t value = (uint16_t)(setup[2] | setup[3] << 8);
  size_t asked = (size_t)setup[6] | (size_t)setup[7] << 8;
  bool class_request = (setup[0] & 0x60U) == 0x20U;
  uint8_t type = class_request ? setup[0] & 0xe0U : setup[0];
  switch (type << 8 | setup[1]) {
    case GET_STATUS_DEVICE:
    case GET_STATUS_INTERFACE:
    case GET_STATUS_ENDPOINT:
      return send_byte(usb, 0, 2, asked);
    case GET_DESCRIPTOR:
      return send_descriptor(usb, HIGH(value), LOW(value), asked);
    case GET_CONFIGURATION:
      return send_byte(usb, usb->configuration, 1, asked);
    case GET_INTERFACE:
      return send_byte(usb, 0, 1, asked);
    case SET_ADDRESS:
      usb->address = (uint8_t)(value & 0x7fU);
      return done;
    case SET_CONFIGURATION:
      return set_configuration(usb, value);
    case SET_INTERFACE:
      return value == 0 ? done : stall;
    case SET_LINE_CODING:
      return asked == sizeof usb->line_coding ? (usb_cdc_answer_t){.kind = USB_CDC_RECEIVE, .len = asked} : stall;
    case GET_LINE_CODING:
      return send(usb->line_coding, sizeof usb->line_coding, asked);
    case SET_CONTROL_LINE_STATE:
      usb->opened = (value & 1U) != 0 && usb->configuration != 0;
      return done;
    case CLEAR_FEATURE_ENDPOINT:
    case SEND_BREAK:
      return done;
    default:
      return stall;
  }
}

void usb_cdc_received(usb_cdc_t *usb, const uint8_t *bytes, size_t len) {
  if (len == sizeof usb->line_coding) {
    memcpy(usb->line_coding, bytes, len);
  }
}
