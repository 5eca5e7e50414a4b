/* What a USB host is told and asked on endpoint 0 by a serial device (CDC ACM): descriptors and requests.
 * USB 2.0, chapter 9; CDC 1.2 and its PSTN subclass. Pure: the board moves the packets. */
#ifndef USB_CDC_H
#define USB_CDC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* pid.codes' test id, which anybody may use and nobody may ship: boards for sale need an id of their own. Hosts
 * recognise a board by what it says in Hello, not by this. */
#define USB_CDC_VENDOR 0x1209U
#define USB_CDC_PRODUCT 0x0001U

#define USB_CDC_PACKET 64U
#define USB_CDC_ENDPOINT_NOTIFY 1U /* to the host; never used, yet hosts insist on it */
#define USB_CDC_ENDPOINT_DATA 2U   /* both ways */
#define USB_CDC_UID_DIGITS 16U
#define USB_CDC_TEXT_MAX 32U

typedef enum {
  USB_CDC_STALL,   /* no such request */
  USB_CDC_SEND,    /* `bytes`, then the host acknowledges */
  USB_CDC_RECEIVE, /* `len` bytes of the host's, then usb_cdc_received */
  USB_CDC_DONE,    /* acknowledge */
} usb_cdc_answer_kind_t;

typedef struct {
  usb_cdc_answer_kind_t kind;
  const uint8_t *bytes;
  size_t len;
} usb_cdc_answer_t;

typedef struct {
  uint64_t uid;
  uint8_t address; /* to be used once the request that set it is acknowledged */
  uint8_t configuration;
  bool opened; /* DTR: a program has the port open */
  uint8_t line_coding[7];
  uint8_t answer[2 + 2 * USB_CDC_TEXT_MAX];
} usb_cdc_t;

void usb_cdc_start(usb_cdc_t *usb, uint64_t uid);

/* The bus was reset, or the cable pulled. */
void usb_cdc_reset(usb_cdc_t *usb);

/* The eight bytes of a request. */
usb_cdc_answer_t usb_cdc_setup(usb_cdc_t *usb, const uint8_t *setup);

/* What came after an answer of USB_CDC_RECEIVE. */
void usb_cdc_received(usb_cdc_t *usb, const uint8_t *bytes, size_t len);

#endif
