/* Which pin is what. docs/hardware.md has the same as a wiring table. */
#ifndef PINS_H
#define PINS_H

enum {
  PIN_UART_TX = 0,
  PIN_UART_RX = 1,
  PIN_LIGHT_RED = 10,   /* PWM slice 5, channel A */
  PIN_LIGHT_GREEN = 11, /* PWM slice 5, channel B */
  PIN_LIGHT_BLUE = 12,  /* PWM slice 6, channel A */
  PIN_BUTTON = 15,      /* to ground */
  PIN_IMU_MISO = 16,
  PIN_IMU_CS = 17, /* plain output: held low through a whole burst */
  PIN_IMU_SCK = 18,
  PIN_IMU_MOSI = 19,
  PIN_IMU_INT1 = 20,
  PIN_TRIGGER = 21,
  PIN_STROBE = 22,
  PIN_ENCODER_SDA = 26, /* I2C1 */
  PIN_ENCODER_SCL = 27,
};

/* Functions, pulls and edge interrupts of all pins; outputs low. */
void pins_start(void);

#endif
