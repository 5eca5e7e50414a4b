/* The main loop of an RP2040 board: drivers to core, core to link. Interrupts only stamp, count and move bytes. */
#include "boot.h"
#include "clocks.h"
#include "hc_core.h"
#include "hc_hal.h"
#include "icm42688.h"
#include "pins.h"
#include "rp2040.h"
#include "spi.h"
#include "startup.h"
#include "uart.h"

#define TICK_US 1000U
#define IMU_RATE_HZ 1000U

enum { LINK_UART, LINK_USB };

static hc_core_t core;
static icm42688_t imu;
static uint8_t frame[HC_SENT_MAX];

uint64_t hal_now_ns(void) {
  return clock_us() * 1000U;
}

bool hal_set_imu_rate(uint32_t rate_hz) {
  return icm42688_set_rate(&imu, rate_hz, hal_now_ns());
}

bool hal_set_trigger(bool on, uint32_t rate_mhz, uint32_t exposure_us) {
  (void)on;
  (void)rate_mhz;
  (void)exposure_us;
  return false;
}

bool hal_mark_take_start(void) {
  return false;
}

bool hal_set_light(const handcap_Light *light) {
  (void)light;
  return false;
}

void hal_reboot_to_bootloader(void) {
  reboot_to_bootloader();
}

void hal_watchdog_feed(void) {
  watchdog_feed();
}

uint32_t hal_stack_free_bytes(void) {
  return stack_free_bytes();
}

size_t hal_sensors(handcap_Sensor *sensors, size_t most) {
  (void)most;
  icm42688_describe(&imu, &sensors[0]);
  return 1;
}

void hal_losses(hc_losses_t *losses) {
  *losses = (hc_losses_t){
      .imu_fifo_lost = imu.lost,
      .imu_invalid_samples = imu.invalid,
      .imu_fifo_resets = imu.fifo_resets,
      .imu_stuck = imu.stuck,
      .rx_overruns = uart_overruns(),
  };
}

/* Wakes the loop where no sensor does. */
void timer_1_handler(void) {
  REGISTER(TIMER_INTR) = 1U << 1;
  REGISTER(TIMER_ALARM(1)) = REGISTER(TIMER_TIMERAWL) + TICK_US;
}

void timer_0_handler(void) {
  REGISTER(TIMER_INTR) = 1U << 0;
}

void usb_handler(void) {
}

void pin_handler(void) {
  uint64_t t_ns = hal_now_ns();
  uint32_t edges = REGISTER(GPIO_INTS(PIN_IMU_INT1));
  if ((edges & GPIO_EDGE_HIGH(PIN_IMU_INT1)) != 0) {
    REGISTER(GPIO_INTR(PIN_IMU_INT1)) = GPIO_EDGE_HIGH(PIN_IMU_INT1);
    icm42688_edge(&imu, t_ns);
  }
  REGISTER(GPIO_INTR(PIN_BUTTON)) = GPIO_EDGE_LOW(PIN_BUTTON) | GPIO_EDGE_HIGH(PIN_BUTTON);
  REGISTER(GPIO_INTR(PIN_STROBE)) = GPIO_EDGE_LOW(PIN_STROBE) | GPIO_EDGE_HIGH(PIN_STROBE);
}

static void receive(void) {
  uint8_t byte;
  uint64_t t_ns;
  while (hc_rx_pop(&uart_rx, &byte, &t_ns)) {
    hc_core_receive(&core, LINK_UART, byte, t_ns);
  }
}

static void read_imu(void) {
  static hc_imu_sample_t samples[ICM42688_READ_MAX];
  static uint64_t t_ns[ICM42688_READ_MAX];
  size_t count = icm42688_poll(&imu, hal_now_ns(), samples, t_ns);
  for (size_t i = 0; i < count; i++) {
    hc_core_imu(&core, t_ns[i], &samples[i]);
  }
  if (count > 0) {
    hc_core_imu_traits(&core, &(hc_imu_traits_t){
                                  .period_ns = imu.period_ns,
                                  .gyro_scale = ICM42688_GYRO_SCALE,
                                  .accel_scale = ICM42688_ACCEL_SCALE,
                                  .temperature_c = imu.temperature_c,
                              });
  }
}

static void send(void) {
  if (!uart_idle()) {
    return;
  }
  size_t len = hc_core_next_frame(&core, frame);
  if (len > 0) {
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
  REGISTER(NVIC_ISER) = 1U << IRQ_TIMER_0 | 1U << IRQ_TIMER_1 | 1U << IRQ_IO_BANK0 | 1U << IRQ_UART0;
}

int main(void) {
  hc_identity_t identity = {.board = "rp2040", .firmware_version = HC_VERSION, .git_hash = HC_GIT_HASH};
  clocks_start();
  boot_identify(&identity);
  watchdog_start();
  pins_start();
  uart_start();
  spi_start();
  (void)icm42688_start(&imu, IMU_RATE_HZ, hal_now_ns());
  hc_core_init(&core, &identity);
  interrupts_start();
  for (;;) {
    receive();
    read_imu();
    hc_core_turn(&core);
    send();
    __asm volatile("wfi");
  }
}
