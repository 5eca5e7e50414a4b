/* Which machine this is. */
#ifndef HC_NODE_MACHINE_H
#define HC_NODE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* The same number for the same machine and camera name, another for any other; not the machine's own secret id.
 * False where the machine has neither an id nor a network card. */
bool machine_uid(const char *camera_name, uint64_t *uid);

#endif
