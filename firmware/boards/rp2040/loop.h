/* Interrupts that leave the main loop something to do say so; the others, a byte sent or a sample's edge, let it sleep
 * on. Without this every byte on the line would cost a turn of the loop. */
#ifndef LOOP_H
#define LOOP_H
#include <stdbool.h>

extern volatile bool loop_wanted;

/* Sleep until somebody wants the loop. */
void loop_sleep(void);

#endif
