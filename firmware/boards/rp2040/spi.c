/* The inertial sensor's bus: SPI0, mode 3, 10.4 MHz. */
#include "spi.h"

#include "clocks.h"
#include "hc_hal.h"
#include "icm42688.h"
#include "pins.h"
#include "rp2040.h"

void spi_start(void) {
  REGISTER(SIO_GPIO_OUT_SET) = 1U << PIN_IMU_CS;
  REGISTER(SIO_GPIO_OE_SET) = 1U << PIN_IMU_CS;
  REGISTER(SPI0_CPSR) = 2;
  REGISTER(SPI0_CR0) = 5U << 8 | 1U << 7 | 1U << 6 | 7U; /* 125 MHz / (2 * 6); clock idles high; 8 bits */
  REGISTER(SPI0_CR1) = 1U << 1;
}

static uint8_t exchange(uint8_t out) {
  REGISTER(SPI0_DR) = out;
  while ((REGISTER(SPI0_SR) & SPI_SR_RNE) == 0) {
  }
  return (uint8_t)REGISTER(SPI0_DR);
}

void icm42688_bus_read(uint8_t reg, uint8_t *bytes, size_t len) {
  REGISTER(SIO_GPIO_OUT_CLR) = 1U << PIN_IMU_CS;
  (void)exchange(reg | 0x80U);
  for (size_t i = 0; i < len; i++) {
    bytes[i] = exchange(0);
  }
  REGISTER(SIO_GPIO_OUT_SET) = 1U << PIN_IMU_CS;
}

void icm42688_bus_write(uint8_t reg, uint8_t value) {
  REGISTER(SIO_GPIO_OUT_CLR) = 1U << PIN_IMU_CS;
  (void)exchange(reg);
  (void)exchange(value);
  REGISTER(SIO_GPIO_OUT_SET) = 1U << PIN_IMU_CS;
}

void icm42688_bus_wait_us(uint32_t us) {
  hal_watchdog_feed();
  wait_us(us);
}
