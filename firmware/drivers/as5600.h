/* AS5600 angle sensor over I2C, without waiting for the bus. Registers: ams DS000365 rev 1-06, figure 21. */
#ifndef AS5600_H
#define AS5600_H
#include <stdbool.h>
#include <stdint.h>

#include "handcap.pb.h"
#include "hc_core.h"

#define AS5600_ADDRESS 0x36U
#define AS5600_PERIOD_NS 5000000U
#define AS5600_READ_LEN 3U

typedef enum { AS5600_BUS_BUSY, AS5600_BUS_DONE, AS5600_BUS_FAILED } as5600_bus_state_t;

/* The bus, supplied by the board or by a test's model of the chip: begin to read AS5600_READ_LEN registers from `reg`
 * on, and see what became of it. Beginning anew ends what hangs. */
void as5600_bus_begin(uint8_t reg);
as5600_bus_state_t as5600_bus_result(uint8_t *bytes);

typedef struct {
  handcap_SensorState state; /* unknown until the first read has ended */
  uint32_t read_errors; /* since boot, of a chip that has answered before */
  uint32_t errors_in_a_row;
  bool reading;
  uint64_t begun_t_ns; /* the read that runs, or the last one */
  uint64_t due_t_ns;
} as5600_t;

void as5600_start(as5600_t *encoder, uint64_t now_ns);

/* True when there is a new angle, read at `t_ns`. */
bool as5600_poll(as5600_t *encoder, uint64_t now_ns, hc_angle_t *angle, uint64_t *t_ns);

void as5600_describe(const as5600_t *encoder, handcap_Sensor *sensor);

#endif
