"""The lane of collections equals what a script in gc.callbacks has seen.

A script that only buffers stands beside our callback. The program builds trees
of parents and children that refer to each other, under thresholds that make
the generations share the work in different ways, and then trees whose children
refer to their parents weakly, which leave nothing to collect.

2.7 has no gc.callbacks: there is no lane, and `gc` is null.
"""
import json
import re
import time

import chain
from chain import Live, on_every_interpreter, record, rows, run, same, stats, wait_until_quiet

NODES = 6 + 6 ** 2 + 6 ** 3 + 6 ** 4 + 6 ** 5  # of a tree: 9,330
MOST_OF_WEAK = 100  # objects that a collection may find where parents are weak
PAUSES_TOLERANCE = 0.20

PROGRAM = """
import gc, json, os, sys, time, weakref

now = getattr(time, 'perf_counter_ns', None) or (
    lambda: int(time.perf_counter() * 1e9))
lane = []
phase = 'before'
started = 0

def seen(moment, info):
    global started
    if moment == 'start':
        started = now()
    else:
        lane.append((phase, info['generation'], info['collected'],
                     info['uncollectable'], now() - started))

class Node(object):
    def __init__(self, parent, depth):
        self.parent = parent
        if depth:
            self.children = [Node(self, depth - 1) for i in range(6)]

class WeakNode(object):
    def __init__(self, parent, depth):
        self.parent = parent and weakref.ref(parent)
        if depth:
            self.children = [WeakNode(self, depth - 1) for i in range(6)]

def nodes(node):
    return 1 + sum(map(nodes, getattr(node, 'children', ())))

def build(name, kind, thresholds, n):
    global phase
    gc.collect()
    gc.set_threshold(*thresholds)
    phase = name
    for i in range(n):
        kind(None, 5)
    phase = 'between'

at_first = gc.get_stats()
gc.callbacks.append(seen)
n_nodes = nodes(Node(None, 5)) - 1
build('700', Node, (700, 10, 10), 25)
build('100', Node, (10000, 100, 100), 110)
build('10', Node, (10000, 10, 10), 40)
build('weak', WeakNode, (700, 10, 10), 25)
gc.disable()
told = {'lane': lane, 'first': at_first, 'stats': gc.get_stats(),
        'nodes': n_nodes, 'pid': os.getpid()}
sys.stdout.write(json.dumps(told) + '\\n')
sys.stdout.flush()
os.read(0, 1)
"""

KEYS = ("collections", "collected", "uncollectable")


def counts(generations):
    """Of gc.get_stats() or of ours; 3.15 tells more than these three."""
    return [[row[key] for key in KEYS] for row in generations]


def sums(lane):
    """What the lines of a lane add up to, by generation."""
    found = [[0, 0, 0] for _ in range(3)]
    for generation, collected, uncollectable in lane:
        found[generation][0] += 1
        found[generation][1] += collected
        found[generation][2] += uncollectable
    return found


def less(after, before):
    return [[a - b for a, b in zip(*pair)] for pair in zip(after, before)]


def told_lane(recording):
    return rows(recording, "SELECT generation, collected, uncollectable,"
                " pause_us FROM v_collections ORDER BY t_us, slot")


def check_lane(told, ours):
    """Line by line, and what they add up to; returns ours that are theirs."""
    theirs = [tuple(line[1:4]) for line in told["lane"]]
    before = ours[:len(ours) - len(theirs)]
    ours = ours[len(before):]
    same("lines", len(ours), len(theirs))
    for i, line in enumerate(theirs):
        same("line %d (%s)" % (i, told["lane"][i][0]), ours[i][:3], line)
    first, last = counts(told["first"]), counts(told["stats"])
    same("sums", sums([line[:3] for line in ours]), less(last, first))
    came = less(first, sums([line[:3] for line in before]))
    if min(min(row) for row in came) < 0:
        raise AssertionError("before the script: ours %r, in all %r" %
                             (before, first))
    return ours


class Disturbed(AssertionError):
    """The machine did something else between our clock and the script's."""


def check_pauses(told, ours):
    """Of the generations 1 and 2: those of 0 are as short as the callback."""
    long = [i for i, line in enumerate(ours) if line[0] > 0]
    our_us = sum(ours[i][3] for i in long)
    their_us = sum(told["lane"][i][4] for i in long) / 1000
    if abs(our_us - their_us) > PAUSES_TOLERANCE * their_us:
        raise Disturbed("pauses of %d collections: ours %d us, true %d" %
                        (len(long), our_us, their_us))
    return our_us


def check_phases(told, ours):
    """Strong parents leave whole trees to be collected, weak ones nothing."""
    same("nodes of a tree", told["nodes"], NODES)
    of = {}
    for line, (phase, *_) in zip(ours, told["lane"]):
        of.setdefault(phase, []).append(line[1])
    for phase in ("700", "100", "10"):
        if sum(of.get(phase, ())) < NODES:
            raise AssertionError("%s: %r" % (phase, of.get(phase)))
    same("collections of weak parents", [n for n in of.get("weak", ())
                                         if n > MOST_OF_WEAK], [])


def lane(interpreter):
    """Of three runs, one may have none of its pauses interrupted."""
    for _ in range(2):
        try:
            return run_of_lane(interpreter)
        except Disturbed as why:
            chain.print_comment("once more: %s" % why)
            chain.fresh_folder()
    return run_of_lane(interpreter)


def run_of_lane(interpreter):
    with Live(interpreter.path, "-c", PROGRAM) as live:
        told = json.loads(live.line())
        time.sleep(0.3)
        live.mark("settled")
        one = live.stats("settled")
        found = told_lane(live.recording)
        end = live.stats("end")
        same("exit status", live.end(), 0)
    same("loss", one["loss"]["events"], 0)
    same("gc", counts(end["gc"]), counts(told["stats"]))
    ours = check_lane(told, found)
    our_us = check_pauses(told, ours)
    check_phases(told, ours)
    return "%d collections, %.0f ms of generations 1 and 2" % (
        len(ours), our_us / 1000)


def skip_old(interpreter):
    return None if interpreter.is_at_least(3) else "2.7 has no gc.callbacks"


def test_the_lane_is_the_scripts():
    """Each collection is recorded as a script in gc.callbacks saw it"""
    return on_every_interpreter(lane, skip=skip_old)


# ---- what is around a collection -------------------------------------------

AROUND = """
import gc, json, os, sys, tempfile

file = tempfile.TemporaryFile()
own = os.dup(2)
statm = open('/proc/self/statm', 'rb', 0)

def arenas():
    # What obmalloc counts by itself; it writes that to standard error.
    file.seek(0)
    file.truncate()
    os.dup2(file.fileno(), 2)
    sys._debugmallocstats()
    os.dup2(own, 2)
    file.seek(0)
    for line in file:
        if line.startswith(b'# arenas allocated current'):
            return int(line.split(b'=')[1].replace(b',', b''))

def rss():
    statm.seek(0)
    return int(statm.read().split()[1]) * 4096

class Knot(object):
    def __init__(self, n):
        self.me = self
        self.kept = [(i, str(i)) for i in range(n)]

def seen(moment, info):
    resident.append(rss())

gc.disable()
ballast = [[] for i in range(100000)] # no collection is short
gc.collect()
told = []
kept = None
gc.callbacks.append(seen)
for n in (200000, 0, 50000, 0):
    Knot(n)
    kept = list(map(str, range(n)))
    resident = []
    before = arenas()
    gc.collect()
    told.append((before, arenas()) + tuple(resident))
sys.stdout.write(json.dumps(told) + '\\n')
sys.stdout.flush()
os.read(0, 1)
"""

RSS_TOLERANCE = 256 * 1024  # what the callbacks themselves touch

COLUMNS = "arenas_before, arenas_after, rss_before, rss_after"


def around_of(recording):
    return rows(recording, "SELECT %s FROM v_collections ORDER BY t_us, slot" %
                COLUMNS)


def around(interpreter):
    with Live(interpreter.path, "-c", AROUND) as live:
        told = [tuple(line) for line in json.loads(live.line())]
        time.sleep(0.3)
        live.mark("settled")
        found = around_of(live.recording)
        last = live.stats("end")["gc"][2]["last"]
        text = " ".join(run(chain.chain.residue, "stats",
                            live.recording).stdout.decode().split())
        same("exit status", live.end(), 0)
    same("stats", tuple(last[key] for key in COLUMNS.split(", ")), found[-1])
    said = re.search(r"the last of 2: \d+ collected in [\d.]+ .?s;"
                     r" arenas (\d+) to (\d+); RSS \d", text)
    same("text of stats", said and tuple(map(int, said.groups())),
         found[-1][:2])
    ours = found[-len(told):]
    same("arenas", [line[:2] for line in ours], [line[:2] for line in told])
    unknown = [line for line in found if None in line[:2]]
    same("collections without arenas", unknown, [])
    if told[0][0] - told[0][1] < 5:
        raise AssertionError("nothing came back: %r" % told)
    for our, their in zip(ours, told):
        if None in our or max(abs(our[i] - their[i])
                              for i in (2, 3)) > RSS_TOLERANCE:
            raise AssertionError("RSS: ours %r, true %r" % (our, their))
    return "arenas %s, MiB %s" % tuple(
        ", ".join("%d to %d" % (line[i] // unit, line[i + 1] // unit)
                  for line in ours) for i, unit in ((0, 1), (2, 1 << 20)))


def test_what_is_around_collections():
    """Arenas before and after a collection are obmalloc's, RSS the kernel's"""
    return on_every_interpreter(around, skip=skip_old)


SANDBOX = """
import ctypes, gc, os, struct, sys
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PREAD64 = 38, 22, 17
gc.disable()
ballast = [[] for i in range(100000)]
gc.collect()
gc.collect()
instructions = [(0x20, 0, 0, 0), (0x15, 0, 1, PREAD64),
                (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(
    b''.join(struct.pack('HBBI', *one) for one in instructions))
program = ctypes.create_string_buffer(
    struct.pack('HxxxxxxQ', len(instructions), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
status = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
status = status or libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program))
gc.collect()
if os.fork() == 0:
    gc.collect()
    os._exit(status)
print(os.wait()[1])
gc.collect()
"""


def test_a_sandbox_is_not_asked():
    """A sandbox that ends who reads at a place sees no reading of RSS"""
    result, recording = record(chain.some_python().path, "-c", SANDBOX)
    same("exit status", result.returncode, 0)
    same("the child", result.stdout, b"0\n")
    own, of_child = ([row[0] for row in rows(
        recording, "SELECT rss_before FROM v_collections WHERE generation = 2"
        " AND process = %d ORDER BY t_us, slot" % process)]
        for process in (1, 2))
    same("collections", (len(own), len(of_child)), (4, 1))
    if None in own[:2]:
        raise AssertionError("RSS: %r" % own)
    same("RSS, in the sandbox", own[2:] + of_child, [None] * 3)


THREADS = """
import gc, threading
gc.disable()
def work():
    mine = [[] for i in range(200000)]
    del mine
    gc.collect()
first = [[] for i in range(200000)]
gc.collect()
for i in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    more = [[] for i in range(100000)]
    gc.collect()
"""


def test_arenas_of_two_threads():
    """Where several threads map arenas their number is not said, not guessed"""
    result, recording = record(chain.some_python().path, "-c", THREADS)
    same("exit status", result.returncode, 0)
    found = rows(recording, "SELECT arenas_before, arenas_after FROM "
                 "v_collections WHERE generation = 2 AND process = 1 "
                 "ORDER BY t_us, slot")
    if len(found) < 5:
        raise AssertionError("collections: %r" % found)
    same("after two threads", found[-2:], [(None, None)] * 2)


TWICE = """
import ctypes, os, struct
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
instructions = [(0x20, 0, 0, 0)]
kills = [39, 110, 5, 17, 302]
for i, number in enumerate(kills):
    instructions.append((0x15, len(kills) - i, 0, number))
instructions += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x80000000)]
code = ctypes.create_string_buffer(
    b''.join(struct.pack('HBBI', *one) for one in instructions))
program = ctypes.create_string_buffer(
    struct.pack('HxxxxxxQ', len(instructions), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
for i in range(2):
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program)) == 0
os.write(1, b'twice\\n')
libc.syscall(231, 0) # exit_group
"""


def test_a_sandbox_in_a_sandbox():
    """Who asks for a second sandbox within a first is not ended by us"""
    for environment in ({}, {"RESIDUE_DISABLE": "1"}):
        result, _ = record(chain.some_python().path, "-c", TWICE,
                           env=dict(chain.clean_environment(), **environment))
        same("exit status, output", (result.returncode, result.stdout),
             (0, b"twice\n"))


def test_a_child_has_its_own_rss():
    """A forked child reads its own RSS, not its parent's"""
    program = """if 1:
        import gc, os
        ballast = [[] for i in range(100000)]
        gc.collect()
        more = bytearray(os.urandom(1)) * (100 << 20)
        if os.fork() == 0:
            del more
            gc.collect()
            gc.collect()
            links = []
            for name in os.listdir('/proc/self/fd'):
                try:
                    links.append(os.readlink('/proc/self/fd/' + name))
                except OSError:
                    pass # the list's own
            os._exit('/proc/%d/statm' % os.getppid() in links)
        status = os.wait()[1]
        gc.collect()
        os._exit(status >> 8)
    """
    result, recording = record(chain.some_python().path, "-c", program)
    same("parent's descriptors", result.returncode, 0)
    last = [rows(recording, "SELECT rss_after FROM v_collections WHERE"
                 " generation = 2 AND process = %d ORDER BY t_us DESC,"
                 " slot DESC LIMIT 1" % process)[0][0] for process in (1, 2)]
    if None in last or not last[1] < 100 << 20 < last[0]:
        raise AssertionError("RSS of parent and child: %r" % last)


# ---- the collector's own numbers -------------------------------------------

GENERATIONS = """
import gc, os
gc.disable()
gc.set_threshold(901, 12, 13)
kept = [[] for i in range(50000)]
gc.collect()
objects = len(gc.get_objects())
more = [[] for i in range(5000)]
gc.collect(1)
for i in range(4):
    gc.collect(0)
last = [[] for i in range(300)]
numbers = gc.get_count()
os.write(1, ('%d %d %d %d\\n' % (numbers + (objects,))).encode())
os.read(0, 1)
"""

FEW = 30  # objects that asking makes


def generations(interpreter):
    with Live(interpreter.path, "-c", GENERATIONS) as live:
        *counts_then, objects = map(int, live.line().split())
        wait_until_quiet(live.stats("end")["pid"])
        live.mark("quiet")
        found = live.stats("quiet")["generations"]
        text = " ".join(run(chain.chain.residue, "stats", live.recording +
                            "@quiet").stdout.decode().split())
        same("exit status", live.end(), 0)
    same("thresholds", [row["threshold"] for row in found], [901, 12, 13])
    ours = [row["count"] for row in found]
    same("counts", ours[1:], counts_then[1:])
    if abs(ours[0] - counts_then[0]) > FEW:
        raise AssertionError("count: ours %r, true %r" % (ours, counts_then))
    oldest = found[2]
    if not interpreter.is_at_least(3, 14) and (
            abs(oldest["survivors"] - objects) > FEW or
            abs(oldest["promoted"] - 5000) > FEW):
        raise AssertionError("objects: ours %r, true %d and 5000" %
                             (oldest, objects))
    words = "%d of 901, %d of 12, %d of 13" % tuple(ours)
    if words not in text:
        raise AssertionError("%r is not in the text of stats" % words)
    return words


def test_thresholds_and_counts():
    """Thresholds and counts at a census are gc.get_threshold's and get_count's
    """
    return on_every_interpreter(
        generations, skip=lambda one: None if (3, 7) <= one.version < (3, 15)
        else "where it keeps them is not known")


def test_thresholds_that_are_not_known():
    """Of 2.7 and 3.6 thresholds are null, and nothing is said of them"""
    def check(interpreter):
        result, recording = record(interpreter.path, "-c", "print(1)")
        same("exit status", result.returncode, 0)
        same("generations", stats(recording)["processes"][0]["generations"],
             None)
        return "null"
    return on_every_interpreter(check, skip=lambda one: "they are known"
                                if (3, 7) <= one.version < (3, 15) else None)


# ---- what waited for it ----------------------------------------------------

PAIRS = """
import gc, os

class Half(object):
    def __init__(self):
        self.other = None

class Kept(object):
    pass

def build(n):
    for i in range(n):
        one, two = Half(), Half()
        one.other, two.other = two, one

def tell(what):
    os.write(1, ('%%s\\n' %% (what,)).encode())
    os.read(0, 1)

gc.disable()
build(100) # what the interpreter makes once is there
kept = [Kept() for i in range(%d)]
gc.collect()
for i in range(2):
    build(%d)
    tell('built')
    if i == 1:
        del kept[:] # so many die of themselves
    tell(gc.collect())
"""
N_PAIRS = 20000
N_KEPT = 5000


def waited_of(live, name):
    """What stats says of the collection between two marks, and gc.collect."""
    live.line()
    pid = live.stats("end")["pid"]
    wait_until_quiet(pid)
    live.mark(name + " before")
    live.say("")
    collected = int(live.line())
    wait_until_quiet(pid)
    live.mark(name + " after")
    found = max(live.stats("end")["cyclic_garbage"],
                key=lambda row: row["t_us"])
    live.say("")
    same("collected", found["collected"], collected)
    for key, of_types in (("objects", "count"), ("bytes", "bytes")):
        same(key, sum(row[of_types] for row in found["types"]), found[key])
    if found["objects"] > collected:
        raise AssertionError("more than were collected: %r" % found)
    return found, {row["name"]: row["count"] for row in found["types"]}


def waited(interpreter):
    true = {"Half": 2 * N_PAIRS}
    if not interpreter.is_at_least(3, 11):  # later ones have no dict
        true["dict"] = 2 * N_PAIRS
    with Live(interpreter.path, "-c", PAIRS % (N_KEPT, N_PAIRS)) as live:
        alone, types = waited_of(live, "alone")
        among, others = waited_of(live, "among others")
        same("exit status", live.end(), 0)
    text = run(chain.chain.residue, "stats", live.recording).stdout
    same("objects by type", types, true)
    same("errors", (alone["objects_error"], alone["bytes_error"]), (0, 0))
    error = among["objects_error"]
    same("error, among others", error, N_KEPT)
    wrong = {name: others.get(name, 0) - true.get(name, 0)
             for name in set(others) | set(true)}
    if max(map(abs, wrong.values())) > error:
        raise AssertionError("more than %d wrong: %r" % (error, wrong))
    if len(re.findall(r" (?:Half|dict)\n", text.decode().split(
            "waited for the collector")[1])) < 2:
        raise AssertionError("the text of stats: %s" % text.decode())
    return "%d objects, %d bytes; among others %d \u00b1 %d" % (
        alone["objects"], alone["bytes"], among["objects"], error)


def test_what_waited_for_the_collector():
    """Objects that only a collection frees are told by type"""
    return on_every_interpreter(waited, skip=skip_old)


def test_where_there_is_no_lane():
    """2.7 tells of no collection: gc is null, and the lane is empty"""
    old = [one for one in chain.interpreters() if not one.is_at_least(3)]
    if not old:
        raise chain.Skip("there is no 2.7 here")
    result, recording = record(old[0].path, "-c", "import gc; gc.collect()")
    same("exit status", result.returncode, 0)
    same("gc", stats(recording)["processes"][0]["gc"], None)
    same("lane", told_lane(recording), [])


if __name__ == "__main__":
    chain.main(globals())
