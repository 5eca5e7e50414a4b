/* The main loop of an RP2040 board: drivers to core, core to link. Interrupts only stamp, count and move bytes. */
#include "as5600.h"
#include "boot.h"
#include "button.h"
#include "camera_trigger.h"
#include "clocks.h"
#include "hc_core.h"
#include "hc_hal.h"
#include "i2c.h"
#include "icm42688.h"
#include "light.h"
#include "loop.h"
#include "pins.h"
#include "pwm.h"
#include "rp2040.h"
#include "spi.h"
#include "startup.h"
#include "uart.h"
#include "usb.h"

#define TICK_US 1000U
#define IMU_RATE_HZ 1000U

enum { LINK_UART, LINK_USB };

static hc_core_t core;
static icm42688_t imu;
static as5600_t encoder;
static camera_trigger_t trigger;
static button_t button;
static light_t light;
static uint8_t frame[HC_SENT_MAX];

uint64_t hal_now_ns(void) {
  return ns_of_us(clock_us());
}

bool hal_set_imu_rate(uint32_t rate_hz) {
  return icm42688_set_rate(&imu, rate_hz, hal_now_ns());
}

static void set_trigger_alarm(void) {
  REGISTER(TIMER_ALARM(0)) = (uint32_t)trigger.edge_us;
  if (clock_us() >= trigger.edge_us) { /* else it would come in 71 minutes */
    SET_BITS(TIMER_INTF, 1U << 0);
  }
}

bool hal_set_trigger(bool on, uint32_t rate_mhz, uint32_t exposure_us) {
  uint32_t before = interrupts_off();
  camera_trigger_stop(&trigger);
  REGISTER(SIO_GPIO_OUT_CLR) = 1U << PIN_TRIGGER;
  if (on) {
    camera_trigger_start(&trigger, clock_us(), rate_mhz, exposure_us);
    set_trigger_alarm();
  }
  interrupts_restore(before);
  return true;
}

bool hal_mark_take_start(void) {
  return camera_trigger_mark(&trigger);
}

bool hal_set_light(const handcap_Light *wanted) {
  light_set(&light, wanted, hal_now_ns());
  return true;
}

void hal_reboot_to_bootloader(void) {
  wait_us(1000); /* the Ack's last bytes are still with the line */
  reboot_to_bootloader();
}

void hal_watchdog_feed(void) {
  watchdog_feed();
}

uint32_t hal_stack_free_bytes(void) {
  return stack_free_bytes();
}

size_t hal_sensors(handcap_Sensor *sensors, size_t most) {
  static const handcap_SensorKind simple[] = {handcap_SensorKind_SENSOR_KIND_BUTTON,
                                              handcap_SensorKind_SENSOR_KIND_LIGHT};
  size_t count = 0;
  icm42688_describe(&imu, &sensors[count++]);
  as5600_describe(&encoder, &sensors[count++]);
  sensors[count++] = (handcap_Sensor){
      .kind = handcap_SensorKind_SENSOR_KIND_TRIGGER,
      .state = trigger.on ? handcap_SensorState_SENSOR_STATE_RUNNING : handcap_SensorState_SENSOR_STATE_STOPPED,
      .rate_hz = trigger.on ? trigger.rate_mhz / 1000.0 : 0.0,
  };
  for (size_t i = 0; i < sizeof simple / sizeof simple[0] && count < most; i++) {
    sensors[count++] = (handcap_Sensor){.kind = simple[i], .state = handcap_SensorState_SENSOR_STATE_RUNNING};
  }
  return count;
}

void hal_losses(hc_losses_t *losses) {
  *losses = (hc_losses_t){
      .imu_fifo_lost = imu.lost,
      .imu_invalid_samples = imu.invalid,
      .imu_fifo_resets = imu.fifo_resets,
      .imu_stuck = imu.stuck,
      .frame_stamps_dropped = trigger.dropped,
      .rx_overruns = uart_overruns() + usb_rx.overruns,
      .encoder_read_errors = encoder.read_errors,
  };
}

/* The loop's beat: what no interrupt calls for is looked at once a millisecond. */
void timer_1_handler(void) {
  loop_wanted = true;
  REGISTER(TIMER_INTR) = 1U << 1;
  REGISTER(TIMER_ALARM(1)) = REGISTER(TIMER_TIMERAWL) + TICK_US;
}

void timer_0_handler(void) {
  CLEAR_BITS(TIMER_INTF, 1U << 0);
  REGISTER(TIMER_INTR) = 1U << 0;
  bool high = camera_trigger_edge(&trigger, clock_us());
  REGISTER(high ? SIO_GPIO_OUT_SET : SIO_GPIO_OUT_CLR) = 1U << PIN_TRIGGER;
  if (trigger.on) {
    set_trigger_alarm();
  }
}

/* Says whether `edge` came on the pin, and takes note of it. */
static bool take_edge(uint32_t pin, uint32_t edge) {
  if ((REGISTER(GPIO_INTS(pin)) & edge) == 0) {
    return false;
  }
  REGISTER(GPIO_INTR(pin)) = edge;
  return true;
}

void pin_handler(void) {
  uint64_t t_us = clock_us();
  if (take_edge(PIN_IMU_INT1, GPIO_EDGE_HIGH(PIN_IMU_INT1))) {
    icm42688_edge(&imu, ns_of_us(t_us));
  }
  if (take_edge(PIN_STROBE, GPIO_EDGE_HIGH(PIN_STROBE))) {
    camera_trigger_strobe(&trigger, t_us, true);
  }
  if (take_edge(PIN_STROBE, GPIO_EDGE_LOW(PIN_STROBE))) {
    camera_trigger_strobe(&trigger, t_us, false);
  }
  if (take_edge(PIN_BUTTON, GPIO_EDGE_LOW(PIN_BUTTON) | GPIO_EDGE_HIGH(PIN_BUTTON))) {
    button_edge(&button, ns_of_us(t_us));
  }
}

static void receive_from(size_t link, hc_rx_ring_t *ring) {
  uint8_t byte;
  uint64_t t_ns;
  while (hc_rx_pop(ring, &byte, &t_ns)) {
    hc_core_receive(&core, link, byte, t_ns);
  }
}

static void read_imu(uint64_t now_ns) {
  static hc_imu_sample_t samples[ICM42688_READ_MAX];
  static uint64_t t_ns[ICM42688_READ_MAX];
  size_t count = icm42688_poll(&imu, now_ns, samples, t_ns);
  for (size_t i = 0; i < count; i++) {
    hc_core_imu(&core, t_ns[i], &samples[i]);
  }
  if (count > 0) {
    hc_core_imu_traits(&core, &(hc_imu_traits_t){
                                  .period_ns = imu.period_ns,
                                  .gyro_scale = ICM42688_GYRO_SCALE,
                                  .accel_scale = ICM42688_ACCEL_SCALE,
                                  .temperature_c = icm42688_temperature_c(&imu),
                              });
  }
}

static void read_encoder(uint64_t now_ns) {
  hc_angle_t angle;
  uint64_t t_ns;
  if (as5600_poll(&encoder, now_ns, &angle, &t_ns)) {
    hc_core_angle(&core, t_ns, AS5600_PERIOD_NS, &angle);
  }
}

static void read_trigger(void) {
  handcap_FrameStamp stamp;
  while (camera_trigger_pop(&trigger, &stamp)) {
    hc_core_stamp(&core, &stamp);
  }
}

static bool button_down(void) {
  return (REGISTER(SIO_GPIO_IN) & 1U << PIN_BUTTON) == 0;
}

static void read_button(uint64_t now_ns) {
  handcap_Button event;
  if (button_poll(&button, now_ns, button_down(), &event)) {
    hc_core_button(&core, &event);
  }
}

static void show_light(uint64_t now_ns) {
  uint8_t levels[3];
  light_levels(&light, now_ns, levels);
  pwm_set(levels);
}

/* To the USB port while a program has it open, else to the serial line. A frame is begun only when both are idle: it
 * stays where it is until it is sent. */
static void send(void) {
  if (!uart_idle() || !usb_idle()) {
    return;
  }
  size_t len = hc_core_next_frame(&core, frame);
  if (len == 0) {
    return;
  }
  if (usb_open()) {
    usb_send(frame, len);
  } else {
    uart_send(frame, len);
  }
}

static void interrupts_start(void) {
  /* The serial line first: its byte must be taken within 10 us, and its stamp is the clock's. */
  REGISTER(NVIC_IPR(IRQ_UART0)) = 0U;
  REGISTER(NVIC_IPR(IRQ_IO_BANK0)) = 0x40U << 8U * (IRQ_IO_BANK0 % 4U);
  REGISTER(NVIC_IPR(IRQ_TIMER_0)) = 0x40U << 8U * IRQ_TIMER_0 | 0xc0U << 8U * IRQ_TIMER_1;
  REGISTER(NVIC_IPR(IRQ_USBCTRL)) = 0x80U << 8U * (IRQ_USBCTRL % 4U);
  REGISTER(TIMER_INTE) = 1U << 0 | 1U << 1;
  REGISTER(TIMER_ALARM(1)) = REGISTER(TIMER_TIMERAWL) + TICK_US;
  REGISTER(NVIC_ISER) = 1U << IRQ_TIMER_0 | 1U << IRQ_TIMER_1 | 1U << IRQ_USBCTRL | 1U << IRQ_IO_BANK0 |
                        1U << IRQ_UART0;
}

int main(void) {
  hc_identity_t identity = {.board = "rp2040", .firmware_version = HC_VERSION, .git_hash = HC_GIT_HASH};
  clocks_start();
  boot_identify(&identity);
  watchdog_start();
  pins_start();
  uart_start();
  spi_start();
  i2c_start();
  usb_start(identity.uid);
  pwm_start();
  as5600_start(&encoder, hal_now_ns());
  button_start(&button, button_down());
  interrupts_start();
  if (icm42688_start(&imu, IMU_RATE_HZ, hal_now_ns())) {
    (void)icm42688_self_test(&imu);
    (void)icm42688_start(&imu, IMU_RATE_HZ, hal_now_ns());
  }
  hc_core_init(&core, &identity);
  for (;;) {
    uint64_t now_ns = hc_core_wake(&core);
    receive_from(LINK_UART, &uart_rx);
    receive_from(LINK_USB, &usb_rx);
    usb_poll(now_ns);
    read_imu(now_ns);
    read_encoder(now_ns);
    read_trigger();
    read_button(now_ns);
    show_light(now_ns);
    send();
    hc_core_rest(&core);
    loop_sleep();
  }
}
