"""Four million floats, of which eighty stay.

The list is gone, the floats are gone, and on CPython 3.10 and later about
80 MB stay resident all the same: each of the eighty keeps the arena that it
lies in. Runs on Python 2.7 and 3.6 to 3.15.
"""
from __future__ import print_function

FLOATS = 4000000
KEPT = 80


def rss_bytes():
    """Resident bytes of this process, to the page."""
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024


def build(n):
    numbers = [None] * n
    for i in range(n):
        numbers[i] = i * 1.5
    return numbers


def main():
    rss_bytes()  # reading a file for the first time costs memory, too
    before = rss_bytes()
    print("before the floats: %d bytes resident" % before)

    numbers = build(FLOATS)
    print("with %d floats: %d bytes resident" % (FLOATS, rss_bytes()))

    apart = FLOATS // KEPT
    kept = numbers[apart // 4::apart]
    del numbers
    after = rss_bytes()
    print("with the %d that are kept: %d bytes resident" % (len(kept), after))
    print("so %d floats hold %d bytes" % (len(kept), after - before))
    return kept


if __name__ == "__main__":
    kept = main()
