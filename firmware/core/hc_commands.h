/* Commands from the host, each done once however often it comes. */
#ifndef HC_COMMANDS_H
#define HC_COMMANDS_H
#include <stdbool.h>
#include <stdint.h>

#include "handcap.pb.h"

#define HC_COMMANDS_REMEMBERED 8U

typedef struct {
  uint32_t id;
  handcap_Ack_Outcome outcome;
  const char *text; /* constant for the program's life */
} hc_ack_t;

typedef struct {
  hc_ack_t done[HC_COMMANDS_REMEMBERED]; /* id 0 marks an empty place */
  uint32_t next;
  bool streaming;
  bool hello_wanted;
  bool bootloader_wanted;
} hc_commands_t;

/* Do the command unless its id is among the last ones. The answer either way. */
hc_ack_t hc_command(hc_commands_t *commands, const handcap_Command *command);

#endif
