#include "machine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits: /etc/machine-id is not to be shown to others as it is. */
static uint64_t hash(uint64_t so_far, const char *text) {
  for (; *text != '\0'; text++) {
    so_far = (so_far ^ (uint8_t)*text) * 0x100000001b3ULL;
  }
  return (so_far ^ 0xff) * 0x100000001b3ULL; /* an end, so that "a" "bc" and "ab" "c" differ */
}

static bool read_line(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "re");
  if (file == NULL) {
    return false;
  }
  bool got = fgets(text, (int)size, file) != NULL;
  fclose(file);
  if (got) {
    text[strcspn(text, "\n")] = '\0';
  }
  return got && text[0] != '\0';
}

static bool network_card(char *text, size_t size) {
  struct dirent **entries = NULL;
  int count = scandir("/sys/class/net", &entries, NULL, alphasort);
  bool got = false;
  for (int i = 0; i < count; i++) {
    char path[320];
    snprintf(path, sizeof path, "/sys/class/net/%s/address", entries[i]->d_name);
    got = got || (read_line(path, text, size) && strcmp(text, "00:00:00:00:00:00") != 0);
    free(entries[i]);
  }
  free(entries);
  return got;
}

bool machine_uid(const char *camera_name, uint64_t *uid) {
  char text[64];
  if (!read_line("/etc/machine-id", text, sizeof text) && !network_card(text, sizeof text)) {
    return false;
  }
  *uid = hash(hash(0xcbf29ce484222325ULL, text), camera_name);
  return true;
}
