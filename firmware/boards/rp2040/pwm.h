/* The light's three pins. */
#ifndef PWM_H
#define PWM_H
#include <stdint.h>

void pwm_start(void);

/* Red, green, blue, 0 to 255. */
void pwm_set(const uint8_t levels[3]);

#endif
