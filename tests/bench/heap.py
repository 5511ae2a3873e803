"""A Python with so many GiB of small objects, and a heartbeat.

    heap.py GIB

Says how many bytes are resident, then for each line of its input the longest
pause between two beats since the last line, in microseconds, and ends with its
input. A beat is due each millisecond.
"""
import os
import select
import sys
import time


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(n_bytes):
    """Floats, tuples and dicts, and lists of them."""
    kept = []
    while resident() < n_bytes:
        kept.append([i * 0.5 for i in range(2000)])
        kept.append([(i, i + 1) for i in range(1000)])
        kept.append([{"a": i, "b": None} for i in range(300)])
    return kept


def beat():
    longest = 0
    last = time.monotonic()
    while True:
        readable = select.select([sys.stdin], [], [], 0.001)[0]
        now = time.monotonic()
        longest = max(longest, now - last)
        last = now
        if readable:
            if not sys.stdin.readline():
                return
            print(int(longest * 1e6), flush=True)
            longest = 0
            last = time.monotonic()


def main():
    kept = fill(int(float(sys.argv[1]) * (1 << 30)))
    print(resident(), flush=True)
    beat()
    sys.stdout.flush()
    os._exit(0 if kept else 1)  # to free all of it takes its time


main()
