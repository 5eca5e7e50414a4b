/* The encoder's bus: I2C1 at 400 kHz. A whole read fits the peripheral's FIFOs, so nobody waits for it. */
#include "i2c.h"

#include "as5600.h"
#include "rp2040.h"

void i2c_start(void) {
  REGISTER(I2C1_ENABLE) = 0;
  REGISTER(I2C1_CON) = 1U << 6 | 1U << 5 | 2U << 1 | 1U; /* master only, restarts, fast mode */
  REGISTER(I2C1_TAR) = AS5600_ADDRESS;
  REGISTER(I2C1_FS_SCL_HCNT) = 126; /* 313 cycles of 125 MHz, two fifths of them high */
  REGISTER(I2C1_FS_SCL_LCNT) = 187;
  REGISTER(I2C1_FS_SPKLEN) = 11;
  REGISTER(I2C1_SDA_HOLD) = 38; /* 300 ns */
  REGISTER(I2C1_ENABLE) = 1;
}

void as5600_bus_begin(uint8_t reg) {
  (void)REGISTER(I2C1_CLR_TX_ABRT);
  if (REGISTER(I2C1_RXFLR) != 0 || (REGISTER(I2C1_STATUS) & I2C_STATUS_MASTER_BUSY) != 0) {
    i2c_start(); /* the last read hangs or was given up: off and on empties both FIFOs */
  }
  REGISTER(I2C1_DATA_CMD) = reg;
  REGISTER(I2C1_DATA_CMD) = I2C_CMD_READ | I2C_CMD_RESTART;
  for (uint32_t i = 2; i < AS5600_READ_LEN; i++) {
    REGISTER(I2C1_DATA_CMD) = I2C_CMD_READ;
  }
  REGISTER(I2C1_DATA_CMD) = I2C_CMD_READ | I2C_CMD_STOP;
}

as5600_bus_state_t as5600_bus_result(uint8_t *bytes) {
  if ((REGISTER(I2C1_RAW_INTR_STAT) & I2C_TX_ABRT) != 0) {
    return AS5600_BUS_FAILED;
  }
  if (REGISTER(I2C1_RXFLR) < AS5600_READ_LEN) {
    return AS5600_BUS_BUSY;
  }
  for (uint32_t i = 0; i < AS5600_READ_LEN; i++) {
    bytes[i] = (uint8_t)REGISTER(I2C1_DATA_CMD);
  }
  return AS5600_BUS_DONE;
}
