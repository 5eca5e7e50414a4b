/* Pictures from an .mjpeg file (JPEGs end to end) or a folder of .jpg files, at a given rate, over and over. */
#ifndef HC_NODE_FILES_H
#define HC_NODE_FILES_H

#include <stddef.h>

#include "source.h"

/* Null with the reason in `problem`. */
source_t *files_open(const char *path, double rate_hz, bool once, char *problem, size_t problem_size);

#endif
