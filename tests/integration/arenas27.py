"""Run by gdb in a Python 2.7 process: reads obmalloc's arenas[].

Prints `ARENAS n` and `CLASS size pools used free` for each size class, from
the interpreter's own structures by its own symbols (Objects/obmalloc.c).
"""
import struct

import gdb

POOL = 4096
HEADER = 48
ARENA_OBJECT = 48
ALIGNMENT = 16


def value(expression):
    return int(gdb.parse_and_eval(expression))


memory = gdb.selected_inferior()
n_slots = value("'obmalloc.c'::maxarenas")
table = value("(unsigned long)'obmalloc.c'::arenas")
slots = bytes(memory.read_memory(table, n_slots * ARENA_OBJECT))

classes = {}
n_arenas = 0
for slot in range(n_slots):
    address, next_pool = struct.unpack_from("<QQ", slots, slot * ARENA_OBJECT)
    if address == 0:
        continue
    n_arenas += 1
    first = (address + POOL - 1) // POOL * POOL
    for pool in range(first, next_pool, POOL):
        header = bytes(memory.read_memory(pool, HEADER))
        used, = struct.unpack_from("<I", header, 0)
        _, szidx, _, _ = struct.unpack_from("<IIII", header, 32)
        if used == 0:
            continue
        size = (szidx + 1) * ALIGNMENT
        row = classes.setdefault(size, [0, 0, 0])
        row[0] += 1
        row[1] += used
        row[2] += (POOL - HEADER) // size - used

print("ARENAS %d" % n_arenas)
for size, row in sorted(classes.items()):
    print("CLASS %d %d %d %d" % (size, row[0], row[1], row[2]))
