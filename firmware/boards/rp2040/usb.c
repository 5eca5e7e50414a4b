#include "usb.h"

#include "clocks.h"
#include "loop.h"
#include "rp2040.h"
#include "usb_cdc.h"

#define CONTROL 0U
#define DATA USB_CDC_ENDPOINT_DATA
#define NOTIFY USB_CDC_ENDPOINT_NOTIFY
#define OUT 1U /* from the host; IN, to the host, is 0 */
#define IN 0U
#define BUFFER_BIT(endpoint, out) (1U << (2U * (endpoint) + (out)))
#define EMPTY_PAUSE_NS 1000000U /* a host that sends nothing but empty packets must not keep the loop awake */
#define TYPE_BULK 2U
#define TYPE_INTERRUPT 3U

/* Offsets within the USB RAM. */
#define CONTROL_BUFFER 0x100U
#define NOTIFY_BUFFER 0x180U
#define DATA_IN_BUFFER 0x1c0U
#define DATA_OUT_BUFFER 0x200U

hc_rx_ring_t usb_rx;

static usb_cdc_t cdc;

/* Endpoint 0: what is left of the answer. */
static const uint8_t *answer;
static size_t answer_left;
static size_t answer_expected; /* bytes that the host is to send */
static uint32_t control_pid;

static const uint8_t *volatile sending;
static volatile size_t left;
static volatile bool in_flight;   /* a packet waits for the host */
static volatile bool short_owed;  /* the frame filled its last packet: an empty one must end it */
static uint32_t in_pid, out_pid;
static volatile bool out_armed;
static volatile uint64_t out_pause_until_ns; /* after an empty packet */

static size_t packet_len(size_t waiting) {
  return waiting > USB_CDC_PACKET ? USB_CDC_PACKET : waiting;
}

static void write_packet(uint32_t buffer, const uint8_t *bytes, size_t len) {
  for (size_t i = 0; i < len; i += 4) {
    uint32_t word = 0;
    for (size_t j = 0; j < 4 && i + j < len; j++) {
      word |= (uint32_t)bytes[i + j] << (8U * j);
    }
    REGISTER(USB_RAM + buffer + i) = word;
  }
}

static size_t read_packet(uint32_t buffer, uint32_t control, uint8_t *bytes) {
  size_t len = packet_len(REGISTER(control) & USB_BUFFER_LEN);
  for (size_t i = 0; i < len; i++) {
    bytes[i] = (uint8_t)(REGISTER(USB_RAM + buffer + (i & ~(size_t)3)) >> (8U * (i & 3U)));
  }
  return len;
}

/* Hand a buffer to the controller. 4.1.2.5.1: the bit that does so must come a little after the others. */
static void hand_over(uint32_t endpoint, uint32_t out, uint32_t flags, size_t len, uint32_t *pid) {
  uint32_t control = flags | (uint32_t)len | (*pid != 0 ? USB_BUFFER_DATA1 : 0U);
  *pid ^= 1U;
  REGISTER(USB_BUFFER_CONTROL(endpoint, out)) = control;
  __asm volatile("nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop");
  REGISTER(USB_BUFFER_CONTROL(endpoint, out)) = control | USB_BUFFER_AVAILABLE;
}

static void send_control_packet(void) {
  size_t len = packet_len(answer_left);
  write_packet(CONTROL_BUFFER, answer, len);
  answer += len;
  answer_left -= len;
  hand_over(CONTROL, IN, USB_BUFFER_FULL, len, &control_pid);
}

static void acknowledge(void) {
  control_pid = 1;
  answer_left = 0;
  hand_over(CONTROL, IN, USB_BUFFER_FULL, 0, &control_pid);
}

static void stall_control(void) {
  REGISTER(USB_EP_STALL_ARM) = 3;
  REGISTER(USB_BUFFER_CONTROL(CONTROL, IN)) = USB_BUFFER_STALL;
  REGISTER(USB_BUFFER_CONTROL(CONTROL, OUT)) = USB_BUFFER_STALL;
}

static void start_endpoints(void) {
  REGISTER(USB_ENDPOINT_CONTROL(NOTIFY, IN)) =
      USB_ENDPOINT_ENABLE | USB_ENDPOINT_INTERRUPT | USB_ENDPOINT_TYPE(TYPE_INTERRUPT) | NOTIFY_BUFFER;
  REGISTER(USB_ENDPOINT_CONTROL(DATA, IN)) =
      USB_ENDPOINT_ENABLE | USB_ENDPOINT_INTERRUPT | USB_ENDPOINT_TYPE(TYPE_BULK) | DATA_IN_BUFFER;
  REGISTER(USB_ENDPOINT_CONTROL(DATA, OUT)) =
      USB_ENDPOINT_ENABLE | USB_ENDPOINT_INTERRUPT | USB_ENDPOINT_TYPE(TYPE_BULK) | DATA_OUT_BUFFER;
  in_pid = 0;
  out_pid = 0;
  in_flight = false;
  out_armed = false;
}

/* What the requests of the kind "clear halt" are for: both sides count packets from zero again. */
static void restart_toggle(uint8_t endpoint) {
  if (endpoint == (0x80U | DATA)) {
    in_pid = 0;
  } else if (endpoint == DATA) {
    out_pid = 0;
  }
}

static void take_setup(void) {
  uint8_t setup[8];
  for (size_t i = 0; i < sizeof setup; i++) {
    setup[i] = (uint8_t)(REGISTER(USB_RAM + (i & ~(size_t)3)) >> (8U * (i & 3U)));
  }
  uint8_t configuration = cdc.configuration;
  usb_cdc_answer_t reply = usb_cdc_setup(&cdc, setup);
  if (setup[0] == 0x02 && setup[1] == 0x01) {
    restart_toggle(setup[4]);
  }
  if (cdc.configuration != configuration && cdc.configuration != 0) {
    start_endpoints();
  }
  control_pid = 1;
  switch (reply.kind) {
    case USB_CDC_SEND:
      answer = reply.bytes;
      answer_left = reply.len;
      send_control_packet();
      break;
    case USB_CDC_RECEIVE:
      answer_expected = reply.len;
      hand_over(CONTROL, OUT, 0, USB_CDC_PACKET, &control_pid);
      break;
    case USB_CDC_DONE:
      acknowledge();
      break;
    case USB_CDC_STALL:
      stall_control();
      break;
  }
}

/* A packet of ours on endpoint 0 has reached the host. */
static void control_sent(void) {
  if (REGISTER(USB_ADDR_ENDP) != cdc.address) {
    REGISTER(USB_ADDR_ENDP) = cdc.address; /* the request that set it is acknowledged now, and not before */
  }
  bool was_data = (REGISTER(USB_BUFFER_CONTROL(CONTROL, IN)) & USB_BUFFER_LEN) != 0;
  if (answer_left > 0) {
    send_control_packet();
  } else if (was_data) {
    uint32_t pid = 1;
    hand_over(CONTROL, OUT, 0, USB_CDC_PACKET, &pid); /* for the host's acknowledgement */
  }
}

static void control_received(void) {
  uint8_t bytes[USB_CDC_PACKET];
  size_t len = read_packet(CONTROL_BUFFER, USB_BUFFER_CONTROL(CONTROL, OUT), bytes);
  if (answer_expected > 0) {
    answer_expected = 0;
    usb_cdc_received(&cdc, bytes, len);
    acknowledge();
  }
}

static void send_data_packet(void) {
  size_t len = packet_len(left);
  write_packet(DATA_IN_BUFFER, sending, len);
  sending += len;
  left -= len;
  short_owed = left == 0 && len == USB_CDC_PACKET;
  in_flight = true;
  hand_over(DATA, IN, USB_BUFFER_FULL, len, &in_pid);
}

static void data_sent(void) {
  in_flight = false;
  if (left > 0 || short_owed) {
    send_data_packet();
  } else {
    loop_wanted = true;
  }
}

static void data_received(uint64_t t_ns) {
  uint8_t bytes[USB_CDC_PACKET];
  size_t len = read_packet(DATA_OUT_BUFFER, USB_BUFFER_CONTROL(DATA, OUT), bytes);
  out_armed = false;
  loop_wanted = loop_wanted || len > 0;
  out_pause_until_ns = len == 0 ? t_ns + EMPTY_PAUSE_NS : 0;
  for (size_t i = 0; i < len; i++) {
    hc_rx_push(&usb_rx, bytes[i], t_ns);
  }
}

static void bus_reset(void) {
  usb_cdc_reset(&cdc);
  REGISTER(USB_ADDR_ENDP) = 0;
  answer_left = 0;
  answer_expected = 0;
  left = 0;
  short_owed = false;
  in_flight = false;
  out_armed = false;
}

void usb_handler(void) {
  uint64_t t_ns = ns_of_us(clock_us());
  uint32_t causes = REGISTER(USB_INTS);
  if ((causes & USB_INT_BUS_RESET) != 0) {
    bus_reset();
    REGISTER(USB_SIE_STATUS) = USB_SIE_BUS_RESET;
  }
  if ((causes & USB_INT_SETUP) != 0) {
    REGISTER(USB_SIE_STATUS) = USB_SIE_SETUP;
    take_setup();
  }
  if ((causes & USB_INT_BUFFER) == 0) {
    return;
  }
  uint32_t buffers = REGISTER(USB_BUFF_STATUS);
  REGISTER(USB_BUFF_STATUS) = buffers;
  if ((buffers & BUFFER_BIT(CONTROL, IN)) != 0) {
    control_sent();
  }
  if ((buffers & BUFFER_BIT(CONTROL, OUT)) != 0) {
    control_received();
  }
  if ((buffers & BUFFER_BIT(DATA, IN)) != 0) {
    data_sent();
  }
  if ((buffers & BUFFER_BIT(DATA, OUT)) != 0) {
    data_received(t_ns);
  }
}

void usb_start(uint64_t uid) {
  usb_cdc_start(&cdc, uid);
  for (uint32_t offset = 0; offset < CONTROL_BUFFER; offset += 4) {
    REGISTER(USB_RAM + offset) = 0;
  }
  REGISTER(USB_MUXING) = 1U << 3 | 1U << 0; /* the controller on the pins, connected by software */
  REGISTER(USB_PWR) = 1U << 3 | 1U << 2;    /* taken as powered: the bus is what feeds the board */
  REGISTER(USB_SIE_CTRL) = USB_SIE_CTRL_EP0_INTERRUPT;
  REGISTER(USB_INTE) = USB_INT_BUFFER | USB_INT_BUS_RESET | USB_INT_SETUP;
  REGISTER(USB_MAIN_CTRL) = 1;
  SET_BITS(USB_SIE_CTRL, USB_SIE_CTRL_PULL_UP);
}

bool usb_open(void) {
  return cdc.opened;
}

bool usb_idle(void) {
  /* A packet that no host fetches after the port was closed must not hold up the serial line. */
  return !cdc.opened || (left == 0 && !in_flight);
}

void usb_send(const uint8_t *bytes, size_t len) {
  uint32_t before = interrupts_off();
  if (cdc.opened) {
    sending = bytes;
    left = len;
    send_data_packet();
  }
  interrupts_restore(before);
}

void usb_poll(uint64_t now_ns) {
  uint32_t before = interrupts_off();
  bool room = HC_RX_BYTES - (usb_rx.written - usb_rx.read) >= USB_CDC_PACKET;
  if (cdc.configuration != 0 && !out_armed && room && now_ns >= out_pause_until_ns) {
    out_armed = true;
    hand_over(DATA, OUT, 0, USB_CDC_PACKET, &out_pid);
  }
  if ((REGISTER(USB_SIE_STATUS) & USB_SIE_SUSPENDED) != 0) {
    cdc.opened = false; /* no host has spoken for 3 ms: the cable is out, or the laptop sleeps */
  }
  if (!cdc.opened) {
    left = 0; /* nobody reads: what was begun is given up */
    short_owed = false;
  }
  interrupts_restore(before);
}
