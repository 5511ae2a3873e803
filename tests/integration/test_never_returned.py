"""What the interpreter keeps for reuse is counted as it counts it itself."""
import json
import os
import re
import shutil

import chain
from chain import Live, on_every_interpreter, rows, run, same, \
    wait_until_quiet

# Fills every free list of any version, and then what the second argument asks
# for; tells its own statistics, and touches nothing afterwards.
FILL = """
import gc, os, signal, sys
def recursive(n):
    return n and recursive(n - 1)
class Thing(object):
    def method(self):
        pass
ASYNC = '''
async def counting():
    for i in range(3):
        yield i
async def main():
    sends = [one.asend(None) for one in [counting() for i in range(50)]]
    for one in sends:
        try:
            one.send(None)
        except StopIteration:
            pass
    async for i in counting():
        pass
def drive():
    try:
        main().send(None)
    except StopIteration:
        pass
'''
def fill():
    thing = Thing()
    floats = [i * 0.25 for i in range(3000)]
    tuples = [tuple(range(n)) for n in range(25) for i in range(40 * n + 1)]
    lists = [[i] for i in range(300)]
    dicts = [{} for i in range(100)] + [{'key': i} for i in range(60)]
    bound = [thing.method for i in range(300)]
    builtin = [lists[0].append for i in range(300)]
    sets = [set([i]) for i in range(100)]
    texts = [u'text %d' % i for i in range(2000)]
    recursive(90)
    try:
        raise MemoryError
    except MemoryError:
        pass
    if sys.version_info >= (3, 7):
        import contextvars
        contexts = [contextvars.copy_context() for i in range(200)]
    if sys.version_info >= (3, 6):
        names = {}
        exec(ASYNC, names)
        names['drive']()
"""
TELL = """
gc.disable()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
tell = getattr(sys, '_debugmallocstats', None)
pause = signal.pause
os.write(1, ('%d\\n' % os.getpid()).encode())
if tell is not None:
    tell()
pause()
"""
FULL = FILL + "\nfill()" + TELL
# All that was on the lists is in use again.
EMPTIED = FILL + """
fill()
kept = ([i * 0.5 for i in range(9000)] + [[i] for i in range(9000)] +
        [{'key': i} for i in range(9000)] +
        [(i,) * n for n in range(21) for i in range(3000)])
""" + TELL

# What sys._debugmallocstats() calls what we call otherwise.
ROW = re.compile(r"^\s*(\d+) free (?:\d+-sized )?Py(\w+?)Objects? \*", re.M)
NAMES = {"CFunction": "builtin_function_or_method", "Method": "method",
         "Dict": "dict", "DictKeys": "dictkeys", "Float": "float",
         "Frame": "frame", "List": "list", "Tuple": "tuple"}


def parse_stats(text):
    """The free lists of sys._debugmallocstats(): {name: count}."""
    counts = {}
    for count, name in ROW.findall(text):
        name = NAMES[name]
        counts[name] = counts.get(name, 0) + int(count)
    if len(counts) < 4:
        raise AssertionError("these are no statistics: %r" % text[-400:])
    return counts


def gdb(pid, script):
    """What a script of this folder prints in gdb, line by line."""
    if not shutil.which("gdb"):
        raise AssertionError("gdb is not installed")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), script)
    result = run("gdb", "-p", str(pid), "-batch", "-nx", "-x", path)
    return [line.split() for line in result.stdout.decode().splitlines()], \
        (result.stdout + result.stderr).decode()[-600:]


def by_gdb(pid):
    """({name: count}, {kind: (blocks, live, free, pinned, empty)}) by the
    symbols."""
    counts = {}
    blocks = {}
    lines, said = gdb(pid, "lists_by_gdb.py")
    for words in lines:
        if words[:1] == ["LIST"]:
            counts[words[1]] = int(words[2])
        elif words[:1] == ["BLOCKS"]:
            blocks[words[1]] = tuple(map(int, words[2:]))
    if not counts:
        raise AssertionError("gdb found no lists: %s" % said)
    return counts, blocks


def differences(ours, truth):
    return ["%s is %s, true %d" % (name, ours.get(name), count)
            for name, count in sorted(truth.items())
            if ours.get(name) != count]


def check_ledger(interpreter, process):
    """Residents are not live, nor are 2.7's slots without an object."""
    never = process["never_returned"]
    in_ledger = process["ledger"]["python_never_returned"]
    lists = {row["name"]: row["bytes"] for row in never["free_lists"]}
    slots = 0
    if interpreter.is_at_least(3):
        same("blocks of 3.x", (never["int"], never["float"]), (None, None))
    else:
        slots = sum(never[name]["blocks"] * 41 * 24 -
                    never[name]["live_bytes"] for name in ("int", "float"))
    # The chunks of an object stack and large frames are malloc's.
    outside = sum(lists.get(name, 0) for name in ("frame",
                                                  "object_stack_chunk"))
    total = sum(lists.values()) + slots
    if not total - outside <= in_ledger <= total:
        raise AssertionError("%s in the ledger, %d in lists, of those up to %d"
                             " outside of arenas" % (in_ledger, total, outside))


def compare(interpreter, program):
    with Live(interpreter.path, "-c", program) as live:
        pid = int(live.line())
        wait_until_quiet(pid)
        live.mark("quiet")
        process = live.stats("quiet")
        ours = {row["name"]: row["count"]
                for row in process["never_returned"]["free_lists"]}
        truth = parse_stats(live.error()) if interpreter.is_at_least(3) else {}
        if interpreter.is_pyenv:
            counts, _ = by_gdb(pid)
            same("lists", sorted(ours), sorted(counts))
            same("two truths", differences(counts, truth), [])
            truth = counts
        live.process.terminate()
        live.process.wait()
    found = differences(ours, truth)
    if found:
        raise AssertionError("; ".join(found))
    for name in truth:
        if not differences(ours, dict(truth, **{name: truth[name] + 1})):
            raise AssertionError("a %s more goes unnoticed" % name)
    check_ledger(interpreter, process)
    return "%d lists, %d residents, difference 0" % (len(truth),
                                                     sum(truth.values()))


def test_full_lists():
    """Free lists that were filled hold what the interpreter says"""
    return on_every_interpreter(lambda one: compare(one, FULL))


def test_emptied_lists():
    """Free lists that were used up hold what the interpreter says"""
    return on_every_interpreter(lambda one: compare(one, EMPTIED))


# ---- 2.7's blocks ----------------------------------------------------------

BLOCKS = """
import gc, os, random
random.seed(7)
gc.disable()
def tell():
    os.write(1, '%d\\n' % os.getpid())
    os.read(0, 1)
ints = range(1000000, 1100000)
floats = [i * 0.5 for i in xrange(50000)]
tell()
for numbers in ints, floats:
    for i in xrange(len(numbers)):
        if random.random() < 0.9:
            numbers[i] = None
tell()
del ints, floats, numbers
tell()
gc.collect()
tell()
"""


def blocks_by_us(live, label):
    live.mark(label)
    return {name: (blocks, live_bytes // 24, *others) for
            name, blocks, live_bytes, *others in rows(
                live.recording, "SELECT name, blocks, live_bytes, count,"
                " pinned_blocks, empty_blocks FROM"
                " v_never_returned WHERE what = 'block' AND label = '%s'" %
                label)}


def compare_blocks(interpreter):
    told = []
    with Live(interpreter.path, "-c", BLOCKS) as live:
        for moment in "full", "thinned", "dropped", "collected":
            pid = int(live.line())
            wait_until_quiet(pid)
            ours = blocks_by_us(live, moment)
            _, truth = by_gdb(pid)
            same("blocks, live, free, pinned, empty", ours, truth)
            one, two, three, four, five = truth["int"]
            if ours in (dict(truth, int=(one, two + 1, three - 1, four, five)),
                        dict(truth, int=(one, two, three, four + 1, five))):
                raise AssertionError("an int more goes unnoticed")
            told.append("%d+%d" % (one, truth["float"][0]))
            live.say("")
        live.end()
    return "%s blocks of ints and floats, difference 0" % ", ".join(told)


def test_blocks_of_2_7():
    """Blocks of ints and floats, and their slots, are the interpreter's"""
    return on_every_interpreter(
        compare_blocks, lambda one: None if not one.is_at_least(3)
        else "3.x has none")


# ---- what dead ints leave --------------------------------------------------

# Drops 90 % of a million ints and says what RSS that has left. Nothing else
# grows in between: the list is as long as before, and malloc gives its memory
# back to nobody else. A small round before has everything in place.
DROP = """
import gc, os, random, sys
random.seed(7)
gc.disable()
xrange = getattr(__builtins__, 'xrange', range)
def rss():
    with open('/proc/self/smaps_rollup') as rollup:
        for line in rollup:
            if line.startswith('Rss:'):
                return int(line.split()[1]) * 1024
def fill_and_drop(n):
    ints = [None] * n
    for i in xrange(n):
        ints[i] = n + i
    for i in xrange(n):
        if random.random() < 0.9:
            ints[i] = None
    return ints
fill_and_drop(1000)
rss()
before = rss()
ints = fill_and_drop(1000000)
after = rss()
kept = len(ints) - ints.count(None)
left = after - before - 24 * kept - sys.getsizeof(ints)
os.write(1, ('%d %d %d\\n' % (os.getpid(), kept, left)).encode())
os.read(0, 1)
"""


def why(recording):
    """(`residue why` as it is read, its findings) after the drop."""
    told = run(chain.chain.residue, "why", recording + "@dropped")
    parsed = json.loads(run(chain.chain.residue, "why", "--json",
                            recording + "@dropped").stdout)
    return told.stdout.decode(), parsed["verdict"]


def check_blocks(live, pid, left):
    """2.7: the interpreter's own count, and what was left of RSS."""
    never = live.stats("dropped")["never_returned"]
    _, truth = by_gdb(pid)
    ours = never["int"]
    same("blocks, live, free, pinned, empty", (
        ours["blocks"], ours["live_bytes"] // 24, ours["free_bytes"] // 24,
        ours["pinned_blocks"], ours["empty_blocks"]), truth["int"])
    same("by design", (never["none_by_design"], never["instead"]), ([], None))
    _, findings = why(live.recording)
    same("first finding", findings[0]["id"], "never-returned-int")
    off = abs(findings[0]["bytes"] - left) / left
    if off > 0.03:
        raise AssertionError("the finding is of %d bytes, RSS says %d" % (
            findings[0]["bytes"], left))
    return "%d blocks, %d pinned, %d free slots as gdb counts; the finding " \
        "is %.1f %% off RSS" % (truth["int"][0], truth["int"][3],
                                truth["int"][2], 100 * off)


def check_design(live, left):
    """3.x has no such blocks, says so, and what holds memory instead."""
    never = live.stats("dropped")["never_returned"]
    same("blocks", (never["int"], never["float"], never["none_by_design"]),
         (None, None, ["int", "float"]))
    told, findings = why(live.recording)
    # Where no census saw the arenas full, and two saw them low, they are pinned.
    same("first finding, a part of the holes",
         findings[0]["id"] in ("pool-holes", "arena-pinning"), True)
    held = never["instead"]["holes_bytes"]
    if not 0.9 * left < held <= left:
        raise AssertionError("%d bytes are left, %d in holes" % (left, held))
    if "none by design" not in findings[0]["evidence"]:
        raise AssertionError(findings[0]["evidence"])
    shown = run(chain.chain.residue, "stats",
                live.recording + "@dropped").stdout.decode()
    for where, text in (("why", told), ("stats", shown)):
        if "none by design" not in " ".join(text.split()):
            raise AssertionError("%s lacks 'none by design': %s" % (where,
                                                                    text))
    if any(one["id"].startswith("never-returned") for one in findings):
        raise AssertionError("there is such a finding all the same")
    return "none by design, of %d bytes that are left %d are holes" % (left,
                                                                       held)


def compare_dropped(interpreter):
    with Live(interpreter.path, "-c", DROP) as live:
        pid, _, left = map(int, live.line().split())
        wait_until_quiet(pid)
        live.mark("dropped")
        if interpreter.is_at_least(3):
            said = check_design(live, left)
        else:
            said = check_blocks(live, pid, left)
        live.end()
    return said


def test_dropped_ints():
    """Of a million ints 90 % are dropped: what is never returned is told"""
    return on_every_interpreter(compare_dropped)


# ---- 2.7's blocks over time ------------------------------------------------

# Fills blocks, and empties most of them; a full collection gives those back.
COLLECT = """
import gc, os
gc.disable()
def tell(text):
    os.write(1, text + '\\n')
    os.read(0, 1)
kept = []
for n in 40000, 80000:
    ints = range(1000000, 1000000 + n)
    tell('full')
    kept.append(ints[::n // 100])
    del ints
    tell('dropped')
    gc.collect()
    tell('collected')
"""


def compare_over_time(interpreter):
    """Each census is as gdb counts, and what was given back between."""
    truth = []
    with Live(interpreter.path, "-c", COLLECT) as live:
        for moment in range(6):
            live.line()
            pid = int(live.stats("end")["pid"])
            wait_until_quiet(pid)
            live.mark("moment %d" % moment)
            truth.append(by_gdb(pid)[1]["int"])
            live.say("")
        live.end()
    ours = rows(live.recording, "SELECT blocks, live, free_slots,"
                " pinned_blocks, empty_blocks FROM v_blocks27"
                " WHERE kind = 'mark' AND name = 'int' ORDER BY t_us")
    same("blocks over time", ours, truth)
    given = [max(0, before[0] - after[0])
             for before, after in zip(truth, truth[1:])]
    same("collections that gave back", [n > 800 for n in given],
         [False, True, False, False, True])
    by_view, = rows(live.recording, "SELECT sum(given_back_blocks)"
                    " FROM v_blocks27 WHERE name = 'int'"
                    " AND t_us <= (SELECT max(t_us) FROM census"
                    " WHERE kind = 'mark')")
    same("given back, by the view", by_view, (sum(given),))
    over_time = chain.stats(live.recording)["processes"][0][
        "never_returned"]["over_time"]
    told = json.loads(run(chain.chain.residue, "stats", "--json", "--type",
                          "int", live.recording).stdout)["processes"][0]
    same("ints, by type", [one["count"] for one in told["censuses"]
                           if one["kind"] == "mark"],
         [row[1] for row in truth])
    if not {row[0] for row in truth} <= {row["blocks"] for row in over_time
                                         if row["name"] == "int"}:
        raise AssertionError("stats lack a moment: %s" % over_time)
    return "blocks of ints %s, difference 0 at each" % ", ".join(
        str(row[0]) for row in truth)


def test_blocks_over_time():
    """Blocks of ints at each moment, and what full collections gave back"""
    return on_every_interpreter(
        compare_over_time, lambda one: None if not one.is_at_least(3)
        else "3.x has none")


# ---- what there is once ----------------------------------------------------

INTERN = """
import gc, os, sys
intern = getattr(sys, 'intern', None) or __builtins__.intern
N = %d
texts = [None] * N
def tell():
    os.write(1, ('%%d\\n' %% os.getpid()).encode())
    os.read(0, 1)
def make():
    for i in range(N):
        texts[i] = intern('string number %%d ' %% i + 'x' * (i %% 300))
def drop():
    for i in range(N):
        texts[i] = None
make()
drop()
gc.collect()
tell()
make()
tell()
drop()
tell()
"""
N_INTERNED = 5000


def singles_at(live, moment):
    pid = int(live.line())
    wait_until_quiet(pid)
    live.mark(moment)
    never = live.stats(moment)["never_returned"]
    return pid, never["small_ints"]["count"], never["interned_strings"]


def compare_singles(interpreter):
    with Live(interpreter.path, "-c", INTERN % N_INTERNED) as live:
        _, n_small, before = singles_at(live, "before")
        live.say("")
        pid, _, strings = singles_at(live, "interned")
        ours = (n_small, strings["count"], strings["immortal_count"])
        truth = ours
        if interpreter.is_pyenv:
            lines, said = gdb(pid, "singles_by_gdb.py")
            found = {words[0]: tuple(map(int, words[1:])) for words in lines
                     if words[:1] in (["SMALL"], ["INTERNED"])}
            same("what gdb found: " + said, sorted(found),
                 ["INTERNED", "SMALL"])
            truth = found["SMALL"] + found["INTERNED"]
        live.say("")
        _, _, after = singles_at(live, "dropped")
        live.end()
    same("small ints, interned, immortal", ours, truth)
    # 3.12 never lets go of a string that was interned.
    stays = interpreter.version[:2] == (3, 12)
    same("growth", strings["count"] - before["count"],
         0 if stays else N_INTERNED)
    same("what is left", after["count"], before["count"])
    if (strings["immortal_count"] >= N_INTERNED) != stays:
        raise AssertionError("for ever: %s" % strings)
    return "%d small ints, %d interned strings (%d of them for ever)%s" % (
        truth + (", as gdb counts" if interpreter.is_pyenv else "",))


def test_singles():
    """Small ints and interned strings are as many as the interpreter has"""
    return on_every_interpreter(compare_singles)


if __name__ == "__main__":
    chain.main(globals())
