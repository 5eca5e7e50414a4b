#ifndef STARTUP_H
#define STARTUP_H
#include <stdint.h>

/* Bytes of the stack that were never written since reset. */
uint32_t stack_free_bytes(void);

#endif
