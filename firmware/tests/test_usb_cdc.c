/* What a USB host asks and is told before a serial port is there. */
#include <string.h>

#include "usb_cdc.h"
#include "virtual_board.h"

static usb_cdc_t usb;

static usb_cdc_answer_t ask(uint8_t type, uint8_t request, uint16_t value, uint16_t index, uint16_t len) {
  uint8_t setup[8] = {type,           request,
                      (uint8_t)value, (uint8_t)(value >> 8),
                      (uint8_t)index, (uint8_t)(index >> 8),
                      (uint8_t)len,   (uint8_t)(len >> 8)};
  return usb_cdc_setup(&usb, setup);
}

static int begin(void **state) {
  (void)state;
  usb_cdc_start(&usb, 0xe66054815b1d3481U);
  return 0;
}

static int begin_configured(void **state) {
  (void)begin(state);
  assert_int_equal(ask(0x00, 5, 9, 0, 0).kind, USB_CDC_DONE);
  assert_int_equal(ask(0x00, 9, 1, 0, 0).kind, USB_CDC_DONE);
  return 0;
}

static void assert_text(uint8_t index, const char *text) {
  usb_cdc_answer_t answer = ask(0x80, 6, (uint16_t)(0x300 | index), 0x409, 255);
  assert_int_equal(answer.kind, USB_CDC_SEND);
  assert_int_equal(answer.len, 2 + 2 * strlen(text));
  assert_int_equal(answer.bytes[0], answer.len);
  assert_int_equal(answer.bytes[1], 3);
  for (size_t i = 0; text[i] != 0; i++) {
    assert_int_equal(answer.bytes[2 + 2 * i], text[i]);
    assert_int_equal(answer.bytes[3 + 2 * i], 0);
  }
}

static void the_serial_number_is_the_uid(void **state) {
  (void)state;
  usb_cdc_answer_t device = ask(0x80, 6, 0x100, 0, 64);
  assert_int_equal(device.len, 18);
  assert_int_equal(device.bytes[8] | device.bytes[9] << 8, USB_CDC_VENDOR);
  assert_int_equal(device.bytes[10] | device.bytes[11] << 8, USB_CDC_PRODUCT);
  assert_text(device.bytes[14], "handcap");
  assert_text(device.bytes[15], "handcap rp2040");
  assert_text(device.bytes[16], "e66054815b1d3481");
}

static void the_descriptors_of_the_configuration_follow_each_other_without_gap(void **state) {
  (void)state;
  usb_cdc_answer_t answer = ask(0x80, 6, 0x200, 0, 255);
  assert_int_equal(answer.bytes[2] | answer.bytes[3] << 8, answer.len);
  uint32_t interfaces = 0, endpoints = 0;
  size_t at = 0;
  for (; at < answer.len; at += answer.bytes[at]) {
    assert_true(answer.bytes[at] >= 2);
    interfaces += answer.bytes[at + 1] == 4 ? 1U : 0U;
    endpoints += answer.bytes[at + 1] == 5 ? 1U : 0U;
  }
  assert_int_equal(at, answer.len);
  assert_int_equal(interfaces, answer.bytes[4]);
  assert_int_equal(endpoints, 3);
}

static void a_host_that_asks_for_less_gets_less(void **state) {
  (void)state;
  assert_int_equal(ask(0x80, 6, 0x200, 0, 9).len, 9);
  assert_int_equal(ask(0x80, 6, 0x100, 0, 8).len, 8);
  assert_int_equal(ask(0x80, 6, 0x300, 0, 2).len, 2);
  assert_int_equal(ask(0x80, 0, 0, 0, 0).len, 0);
}

static void what_a_full_speed_device_has_not_is_refused(void **state) {
  (void)state;
  assert_int_equal(ask(0x80, 6, 0x600, 0, 10).kind, USB_CDC_STALL); /* device qualifier */
  assert_int_equal(ask(0x80, 6, 0x201, 0, 10).kind, USB_CDC_STALL); /* second configuration */
  assert_int_equal(ask(0x80, 6, 0x309, 0, 10).kind, USB_CDC_STALL); /* ninth text */
  assert_int_equal(ask(0x00, 9, 2, 0, 0).kind, USB_CDC_STALL);
  assert_int_equal(ask(0x01, 11, 1, 0, 0).kind, USB_CDC_STALL);
  assert_int_equal(ask(0xc0, 6, 0, 0, 10).kind, USB_CDC_STALL); /* a vendor's request */
  assert_int_equal(usb.configuration, 0);
}

static void a_port_is_open_from_dtr_to_dtr_reset_or_new_configuration(void **state) {
  (void)state;
  for (uint32_t way = 0; way < 3; way++) {
    (void)begin_configured(NULL);
    assert_false(usb.opened);
    assert_int_equal(ask(0x21, 0x22, 3, 0, 0).kind, USB_CDC_DONE);
    assert_true(usb.opened);
    if (way == 0) {
      assert_int_equal(ask(0x21, 0x22, 2, 0, 0).kind, USB_CDC_DONE); /* RTS alone */
    } else if (way == 1) {
      usb_cdc_reset(&usb);
    } else {
      assert_int_equal(ask(0x00, 9, 0, 0, 0).kind, USB_CDC_DONE);
    }
    assert_false(usb.opened);
  }
}

static void a_device_without_configuration_cannot_be_opened(void **state) {
  (void)state;
  assert_int_equal(ask(0x21, 0x22, 1, 0, 0).kind, USB_CDC_DONE);
  assert_false(usb.opened);
}

static void address_configuration_and_interface_are_told_as_set(void **state) {
  (void)state;
  assert_int_equal(usb.address, 9);
  assert_int_equal(ask(0x80, 8, 0, 0, 1).bytes[0], 1);
  assert_int_equal(ask(0x81, 10, 0, 1, 1).bytes[0], 0);
  usb_cdc_answer_t status = ask(0x80, 0, 0, 0, 2);
  assert_int_equal(status.len, 2);
  assert_int_equal(status.bytes[0] | status.bytes[1], 0);
  assert_int_equal(ask(0x02, 1, 0, 0x82, 0).kind, USB_CDC_DONE); /* clear halt */
  assert_int_equal(ask(0x01, 11, 0, 1, 0).kind, USB_CDC_DONE);
}

static void a_line_coding_comes_back_as_it_was_set(void **state) {
  (void)state;
  static const uint8_t coding[7] = {0x80, 0x25, 0, 0, 0, 0, 8};
  usb_cdc_answer_t answer = ask(0x21, 0x20, 0, 0, 7);
  assert_int_equal(answer.kind, USB_CDC_RECEIVE);
  assert_int_equal(answer.len, 7);
  usb_cdc_received(&usb, coding, 3); /* cut short: not taken */
  assert_int_equal(ask(0xa1, 0x21, 0, 0, 7).bytes[1], 0x10);
  usb_cdc_received(&usb, coding, 7);
  answer = ask(0xa1, 0x21, 0, 0, 7);
  assert_int_equal(answer.len, 7);
  assert_memory_equal(answer.bytes, coding, 7);
  assert_int_equal(ask(0x21, 0x20, 0, 0, 64).kind, USB_CDC_STALL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(the_serial_number_is_the_uid, begin),
      cmocka_unit_test_setup(the_descriptors_of_the_configuration_follow_each_other_without_gap, begin),
      cmocka_unit_test_setup(a_host_that_asks_for_less_gets_less, begin),
      cmocka_unit_test_setup(what_a_full_speed_device_has_not_is_refused, begin),
      cmocka_unit_test_setup(a_port_is_open_from_dtr_to_dtr_reset_or_new_configuration, begin),
      cmocka_unit_test_setup(a_device_without_configuration_cannot_be_opened, begin),
      cmocka_unit_test_setup(address_configuration_and_interface_are_told_as_set, begin_configured),
      cmocka_unit_test_setup(a_line_coding_comes_back_as_it_was_set, begin_configured),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
