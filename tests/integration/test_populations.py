"""A program that tells its own population, against every census of it."""
import bisect
import json

import chain
from chain import Live, on_every_interpreter, rows, run, same, \
    wait_until_quiet

# Grows and shrinks in small steps, rests in between; writes down when it had
# how many. In a rest it can be marked.
PROGRAM = """
import json, os, sys, time
try:
    clock = time.monotonic
except AttributeError:
    import ctypes
    class Timespec(ctypes.Structure):
        _fields_ = [('s', ctypes.c_long), ('ns', ctypes.c_long)]
    gettime = ctypes.CDLL(None, use_errno=True).clock_gettime
    now = Timespec()
    def clock():
        gettime(1, ctypes.byref(now))
        return now.s + now.ns * 1e-9
STEP, MOST, LEAST, ROUNDS = %d, %d, %d, %d
class Counted(object):
    def __init__(self):
        self.x = None
class Slotted(object):
    __slots__ = ('x',)
counted, slotted = [None] * MOST, [None] * MOST
times = []
def step(first, made):
    times.append((clock(), first + STEP * (not made)))
    for i in range(first, first + STEP):
        counted[i] = Counted() if made else None
        slotted[MOST - 1 - i] = Slotted() if made else None
    times.append((clock(), first + STEP * made))
    time.sleep(0.002)
def grow(n):
    for first in range(n, MOST, STEP):
        step(first, True)
def shrink():
    for first in range(MOST - STEP, LEAST - STEP, -STEP):
        step(first, False)
def rest(n):
    time.sleep(0.4)
    os.write(1, ('%%d\\n' %% n).encode())
    os.read(0, 1)
grow(0)
for i in range(ROUNDS):
    rest(MOST)
    shrink()
    rest(LEAST)
    grow(LEAST)
rest(MOST)
os.write(1, (json.dumps(times) + '\\n').encode())
os.read(0, 1)
"""
STEP, MOST, LEAST, ROUNDS = 100, 20000, 4000, 2
TYPES = ("Counted", "Slotted")
LARGEST_POOL = 16384 // 32  # blocks of either type in it, at most
# Of each type: the marks, and some censuses that nobody asked for.
LEAST_COUNTS = len(TYPES) * (2 * ROUNDS + 1 + 3)


class Truth:
    """How many there were at a time, by the program's own word."""

    def __init__(self, told):
        self.times = [one[0] for one in told]
        self.counts = [one[1] for one in told]

    def between(self, start, end):
        """The least and the most that there were from start to end."""
        first = max(0, bisect.bisect_right(self.times, start) - 1)
        last = bisect.bisect_left(self.times, end) + 1
        counts = self.counts[first:last]
        if start < self.times[0]:
            counts = counts + [0]
        return min(counts), max(counts)


def populations(recording, type_name):
    """What `residue stats --type` says of the only process."""
    result = run(chain.chain.residue, "stats", "--json", "--type", type_name,
                 recording)
    if result.returncode != 0:
        raise AssertionError(result.stderr.decode())
    process, = json.loads(result.stdout)["processes"]
    return process["censuses"]


def check_censuses(recording, truth):
    """Each count lies in what was true while the census read. Where there was
    no time for all types it is an estimate, which proves nothing here and is
    left out. Returns how many counts there were, during how many of them the
    population changed, and how many were estimates."""
    (t_us, monotonic_ns), = rows(recording, "SELECT t_us, monotonic_ns"
                                 " FROM clock ORDER BY t_us LIMIT 1")
    torn = dict(rows(recording, "SELECT t_us, torn FROM v_censuses"))
    n = n_moving = n_estimates = 0
    for type_name in TYPES:
        for census in populations(recording, type_name):
            if "count_error" in census and census["kind"] != "mark":
                n_estimates += 1
                continue
            if "count_error" in census or census["count"] is None:
                raise AssertionError("it is no count: %s" % census)
            start = (monotonic_ns / 1000 + census["t_us"] - t_us) / 1e6
            least, most = truth.between(start,
                                        start + census["took_us"] / 1e6)
            # The rest of a pool that changed meanwhile is in no figure.
            lacks = torn[census["t_us"]] * LARGEST_POOL
            if not least - lacks <= census["count"] <= most:
                raise AssertionError(
                    "%s at %s: %d counted, from %d to %d there were" % (
                        type_name, census, census["count"], least, most))
            n += 1
            n_moving += least != most
    if n < LEAST_COUNTS:
        raise AssertionError("%d counts, %d estimates" % (n, n_estimates))
    return n, n_moving, n_estimates


def check_rests(recording, said):
    """At a quiet moment the difference is 0."""
    for type_name in TYPES:
        ours = [census["count"] for census in populations(recording, type_name)
                if census["kind"] == "mark"]
        same("%s at rest" % type_name, ours, said)


def compare(interpreter):
    program = PROGRAM % (STEP, MOST, LEAST, ROUNDS)
    said = []
    with Live(interpreter.path, "-c", program) as live:
        for moment in range(2 * ROUNDS + 1):
            said.append(int(live.line()))
            wait_until_quiet(int(live.stats("end")["pid"]))
            live.mark("rest %d" % moment)
            live.say("")
        truth = Truth(json.loads(live.line()))
        live.end()
    check_rests(live.recording, said)
    figures = check_censuses(live.recording, truth)
    altered = Truth(list(zip(truth.times, [n + 1 for n in truth.counts])))
    try:
        check_censuses(live.recording, altered)
    except AssertionError:
        pass
    else:
        raise AssertionError("an object more goes unnoticed")
    return "%d rests, difference 0; %d counts within what was true while " \
        "they were made, %d of them while it changed; %d estimates" % (
            (len(said),) + figures)


def test_populations():
    """A type's population is the program's own, at every census"""
    return on_every_interpreter(compare)


if __name__ == "__main__":
    chain.main(globals())
