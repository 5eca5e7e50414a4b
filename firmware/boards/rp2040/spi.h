#ifndef SPI_H
#define SPI_H

/* The functions that use it are icm42688_bus_... of icm42688.h. */
void spi_start(void);

#endif
