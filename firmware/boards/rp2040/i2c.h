#ifndef I2C_H
#define I2C_H

/* The functions that use it are as5600_bus_... of as5600.h. */
void i2c_start(void);

#endif
