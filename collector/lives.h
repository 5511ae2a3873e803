/*
 * lives.h - a live map as a file, to be compared with an oracle's
 */
#ifndef COLLECTOR_LIVES_H
#define COLLECTOR_LIVES_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/model/livemap.h"

/*
 * One line a block of malloc's, "ADDRESS USABLE ASKED" with a hexadecimal
 * address, and then "orphans N doubles N told N": how many births and deaths
 * came. False: the file could not be written.
 */
bool lives_write(const struct livemap *map, uint64_t n_told, const char *path);

#endif
