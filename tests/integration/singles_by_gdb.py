"""Run by gdb in a Python process: what it has once for all who use it.

Prints `SMALL count`, of the ints that it made when it began and has outside of
its image, and `INTERNED count immortal`, of the strings in its own dict of them
that lie in arenas: not in its image, and not larger than 512 bytes.
"""
import struct

import gdb

LARGEST = 512


class Process:
    def __init__(self):
        self.memory = gdb.selected_inferior()
        text = gdb.parse_and_eval("(char *)Py_GetVersion()").string()
        self.version = tuple(map(int, text.split(".")[:2]))
        self.images = list(self._images())

    def read(self, address, n_bytes):
        return bytes(self.memory.read_memory(address, n_bytes))

    def word(self, address):
        return struct.unpack("<Q", self.read(address, 8))[0]

    def _images(self):
        """Where each mapped file is, its .bss too: by its program headers."""
        seen = set()
        with open("/proc/%d/maps" % self.memory.pid) as maps:
            for line in maps:
                fields = line.split()
                if len(fields) < 6 or fields[2] != "00000000" or \
                        fields[5] in seen or fields[5][0] != "/":
                    continue
                seen.add(fields[5])
                base = int(fields[0].split("-")[0], 16)
                head = self.read(base, 64)
                if head[:4] != b"\x7fELF":
                    continue
                at, = struct.unpack_from("<Q", head, 32)
                size, n = struct.unpack_from("<HH", head, 54)
                loads = [struct.unpack("<IIQQQQQQ", self.read(
                    base + at + size * i, 56)) for i in range(n)]
                loads = [one for one in loads if one[0] == 1]
                bias = 0 if head[16] == 2 else base
                yield base, bias + max(one[3] + one[6] for one in loads)

    def is_in_image(self, address):
        return any(start <= address < end for start, end in self.images)


def value(expression):
    return int(gdb.parse_and_eval(expression))


def interned_dict(version):
    if version < (3, 0):
        return value("(unsigned long)'stringobject.c'::interned")
    if version < (3, 12):
        return value("(unsigned long)'unicodeobject.c'::interned")
    return value("(unsigned long)_PyRuntime.interpreters.main->"
                 "cached_objects.interned_strings")


def keys_of(process, address):
    """Of a dict: the addresses of its keys."""
    if process.version < (3, 0):
        n, at, step, key = process.word(address + 32) + 1, \
            process.word(address + 40), 24, 8
    elif process.version < (3, 11):
        keys = process.word(address + 32)
        size = process.word(keys + 8)
        width = 1 if size <= 0xff else 2 if size <= 0xffff else 4
        n, at, step, key = process.word(keys + 32), \
            keys + 40 + size * width, 24, 8
    else:
        keys = process.word(address + 32)
        _, log2_bytes, kind = process.read(keys + 8, 3)
        n, at = process.word(keys + 24), keys + 32 + (1 << log2_bytes)
        step, key = (24, 8) if kind == 0 else (16, 0)
    content = process.read(at, n * step)
    for i in range(n):
        one, value_of = struct.unpack_from("<QQ", content, i * step + key)
        if one and value_of:
            yield one


def size_of(process, address):
    """(bytes of a string, whether it is there for ever)."""
    length = process.word(address + 16)
    state, = struct.unpack("<I", process.read(address + 32, 4))
    if process.version < (3, 0):
        return 37 + length, state >= 2
    is_ascii = state >> 6 & 1
    heads = (72, 48) if process.version < (3, 12) else (56, 40)
    return heads[is_ascii] + (state >> 2 & 7) * (length + 1), state & 3 >= 2


def count_small(process):
    if process.version < (3, 0):
        array = value("(unsigned long)&'intobject.c'::small_ints")
    elif process.version in ((3, 9), (3, 10)):
        array = value("(unsigned long)"
                      "&_PyRuntime.interpreters.main->small_ints")
    else:
        return 0
    return sum(process.word(array + 8 * i) != 0 for i in range(262))


def main():
    process = Process()
    strings = [size_of(process, one)
               for one in keys_of(process, interned_dict(process.version))
               if not process.is_in_image(one)]
    small = [is_immortal for size, is_immortal in strings if size <= LARGEST]
    print("SMALL %d" % count_small(process))
    print("INTERNED %d %d" % (len(small), sum(small)))


main()
