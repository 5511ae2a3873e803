/*
 * lives.h - a live map as a file, to be compared with an oracle's
 */
#ifndef COLLECTOR_LIVES_H
#define COLLECTOR_LIVES_H

#include <stdbool.h>

#include "collector/model/livemap.h"

/*
 * One line a block, "ADDRESS USABLE ASKED" with a hexadecimal address, and then
 * "orphans N doubles N". False: the file could not be written.
 */
bool lives_write(const struct livemap *map, const char *path);

#endif
