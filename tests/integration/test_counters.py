"""Births and deaths of malloc are counted exactly, in all threads."""
import chain
from chain import Live, rows, same


def counted(live, label):
    return rows(live.recording, "SELECT births, deaths, live_bytes FROM census "
                "WHERE label = '%s'" % label)[0]


def between_two_passes(n_threads, n_rounds):
    """What a pass of the target did, by its own tally and by ours."""
    with Live(chain.chain.target("counters"), str(n_threads),
              str(n_rounds)) as live:
        told = []
        seen = []
        for label in ("first", "second"):
            told.append(tuple(map(int, live.line().split())))
            live.mark(label)
            seen.append(counted(live, label))
            live.say("")
        same("exit status", live.end(), 0)
        lost = rows(live.recording, "SELECT lost_events FROM process")[0][0]
    same("lost events", lost, 0)
    return [[b - a for a, b in zip(*both)] for both in (told, seen)]


def test_counts_are_exact():
    """Every birth and death of the malloc family is counted"""
    points = []
    for n_threads, n_rounds in ((0, 2000), (1, 500), (4, 500), (16, 200),
                                (40, 50)):
        told, seen = between_two_passes(n_threads, n_rounds)
        points.append((told == seen, "%d threads: %d births, %d deaths, %d "
                       "bytes live; ours %r" % (n_threads + 1, *told, seen)))
    return points


def test_a_forked_child_starts_with_what_its_parent_had():
    """A forked child's live blocks are its parent's and its own"""
    program = """
import os, sys
kept = [bytearray(1000) for _ in range(5000)]
read, write = os.pipe()
child = os.fork()
if child == 0:
    del kept[1000:]
    os.write(write, b'x')
    os.read(0, 1)
    os._exit(0)
os.read(read, 1)
os.write(1, ('%d\\n' % child).encode())
os.read(0, 1)
os.waitpid(child, 0)
"""
    with Live(chain.some_python().path, "-c", program) as live:
        child = int(live.line())
        live.mark("forked")
        found = rows(live.recording,
                     "SELECT p.ns_pid, c.live_blocks, c.live_bytes FROM census "
                     "c JOIN process p ON p.id = c.process WHERE c.label = "
                     "'forked' ORDER BY p.id")
        live.process.stdin.write(b"xx")
        live.end()
    same("processes", [row[0] == child for row in found], [False, True])
    # 4000 arrays of 1000 bytes died in the child: their usable bytes are 1000.
    freed = found[0][2] - found[1][2]
    if not 4000 * 1000 <= freed < 4000 * 1000 + 100000:
        raise AssertionError("the child has %d bytes less than its parent" %
                             freed)


if __name__ == "__main__":
    chain.main(globals())
