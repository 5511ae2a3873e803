"""One table: each interpreter, in each way that it can be run.

Of every row the objects of known classes are as many as were built, the size
classes and arenas are those of sys._debugmallocstats(), and the ledger's sum is
RSS; or only the native side is shown, no figure of Python's at all, and the
note says why.
"""
import ast
import functools
import os
import re
import shutil
import subprocess
import traceback

import chain
import objects
from chain import Live, rows, same, wait_until_quiet
from test_classes import ROW, ARENAS, differences, mutated

BUILD = objects.BUILD + """
def leave():
    # Some dead objects on free lists, which a full collection clears.
    for one in ([[] for i in range(9)], [{} for i in range(9)], 0.5 * N):
        pass

build()
"""

TELL = """
clear()
gc.collect()
leave()
pause = signal.pause
tell = getattr(sys, '_debugmallocstats', None)
os.write(1, b'base\\n')
os.read(0, 1)
build()
gc.collect()
gc.disable()
leave()
os.write(1, b'built\\n')
if tell is not None:
    tell()
pause()
"""

PROGRAM = BUILD + TELL


def expected(interpreter):
    """All but the strings, of which waiting needs some for itself."""
    growth = {name: count
              for name, count in objects.expected(interpreter).items()
              if name not in ("str", "unicode")}
    # To 3.6 the call that waits at base has a tuple of its arguments.
    growth["tuple"] -= 0 if interpreter.is_at_least(3, 7) else 1
    return growth


# ---- ways ------------------------------------------------------------------

class Way:
    """How an interpreter is run, and what is then to be seen of it."""

    def __init__(self, name, command, since=(2, 7), native_to=(0,),
                 is_rare=False, **more):
        self.name = name
        self.command = command  # of an interpreter; may raise Skip
        self.since = since
        self.is_rare = is_rare  # one old and one new interpreter have to do
        self.native_to = native_to  # to that version it has no arenas
        self.environment = more
        self.is_embedded = command.__qualname__.startswith("embedded")

    def is_native(self, interpreter):
        return interpreter.version[:2] <= self.native_to


def alone(interpreter):
    return (interpreter.path, "-c", PROGRAM)


def developing(interpreter):
    return (interpreter.path, "-X", "dev", "-c", PROGRAM)


@functools.lru_cache(None)
def library_of(interpreter):
    """(libpython, its home), or Skip."""
    said = subprocess.run(
        (interpreter.path, "-c",
         "import sys, sysconfig as s; v = s.get_config_var;"
         "print('%s|%s|%s|%s' % (v('LIBDIR'), v('MULTIARCH'),"
         "v('INSTSONAME'), sys.prefix))"),
        stdout=subprocess.PIPE, check=True,
        env=chain.clean_environment()).stdout.decode().strip()
    directory, subdirectory, name, home = said.split("|")
    for path in (os.path.join(directory, name),
                 os.path.join(directory, subdirectory, name)):
        if ".so" in name and os.path.exists(path):
            return path, home
    raise chain.Skip("it has no libpython here")


def link(library, *options):
    """Our program as one that was linked with it."""
    program = os.path.join(chain.folder, "linked")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise chain.Skip("there is no compiler")
    subprocess.run((compiler, "-DLINKED") + options +
                   ("-o", program, chain.chain.source("embed.c"), library,
                    "-Wl,-rpath," + os.path.dirname(library)), check=True)
    return program


def embedded(how, *words):
    def command(interpreter):
        library, _ = library_of(interpreter)
        program = chain.chain.target("embed")
        if how == "linked":
            program = link(library)
        elif how == "unknown":
            program = link(library, "-rdynamic", '-DVERSION="3.99.0 (new)"')
        return (program, library, how) + words
    return command


# In a thread and an interpreter of its own, with a lock of its own.
ISOLATED = """
import os, signal, sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
begun, begin = os.pipe()
script = 'import os; os.write(%%d, b"x")\\n' %% begin + %r
run = getattr(interpreters, 'exec', None) or interpreters.run_string
pause = signal.pause
tell = sys._debugmallocstats
thread = threading.Thread(target=run, args=(interpreters.create(), script))
thread.start()
os.read(begun, 1)
tell()
pause()
""" % PROGRAM


def isolated(interpreter):
    return (interpreter.path, "-c", ISOLATED)


RUN = ("run", PROGRAM)
TWICE = "initialised twice"
ALL = (9, 9)
WAYS = (
    Way("default", alone),
    Way("PYTHONMALLOC=debug", alone, (3, 6), (3, 6), PYTHONMALLOC="debug"),
    Way("PYTHONMALLOC=pymalloc_debug", alone, (3, 6), is_rare=True,
        PYTHONMALLOC="pymalloc_debug"),
    Way("-X dev", developing, (3, 7), is_rare=True),
    Way("PYTHONMALLOC=malloc", alone, (3, 6), ALL, PYTHONMALLOC="malloc"),
    Way("PYTHONMALLOC=malloc_debug", alone, (3, 6), ALL, is_rare=True,
        PYTHONMALLOC="malloc_debug"),
    Way("PYTHONMALLOC=mimalloc", alone, (3, 13), ALL,
        PYTHONMALLOC="mimalloc"),
    Way("linked", embedded("linked", "init", *RUN), is_rare=True),
    Way("opened", embedded("global", "init", *RUN)),
    Way("opened in a local scope", embedded("local", "init", *RUN),
        is_rare=True),
    Way(TWICE, embedded("linked", "init", "run", BUILD,
                                      "finalize", "init", *RUN)),
    Way("of a version that nobody knows",
        embedded("unknown", "init", *RUN), native_to=ALL, is_rare=True),
    Way("subinterpreters", embedded("linked", "init", "run", BUILD, "sub",
                                    "run", BUILD, "sub", *RUN)),
    Way("subinterpreters with locks of their own", isolated, since=(3, 12)),
)


def environment_of(way, interpreter):
    more = dict(way.environment)
    if way.is_embedded:
        more["PYTHONHOME"] = library_of(interpreter)[1]
    return chain.clean_environment(**more)


# ---- one row ---------------------------------------------------------------

def parse_stats(text):
    """What one or more interpreters said of themselves, added up."""
    classes = {}
    for _, size, *row in ROW.findall(text):
        sum_ = classes.get(int(size), (0, 0, 0))
        classes[int(size)] = tuple(a + int(b) for a, b in zip(sum_, row))
    arenas = ARENAS.findall(text)
    if not classes or not arenas:
        raise AssertionError("these are no statistics: %r" % text[:400])
    return classes, sum(int(n.replace(",", "")) for n in arenas)


def check_ledger(process):
    ledger = [n for n in process["ledger"].values() if n is not None]
    same("the ledger's sum", sum(ledger), process["rss_bytes"])
    part = process["ledger"]["unexplained"] / process["rss_bytes"]
    if part > 0.02:
        raise AssertionError("%.1f %% are unexplained" % (part * 100))


def print_unexplained(live, moment, pid):
    """Where most of it lies, and what the kernel says is there."""
    with open("/proc/%d/maps" % pid) as file:
        maps = [(int(line.split("-")[0], 16), line.rstrip()) for line in file]
    for start, n_bytes in rows(
            live.recording, "SELECT p.start, p.n_bytes FROM proof p JOIN census"
            " c ON c.id = p.census WHERE c.label = '%s' AND p.cause = "
            "'unexplained' ORDER BY p.n_bytes DESC LIMIT 5" % moment):
        chain.print_comment("%s: %d bytes at %x are unexplained: %s" % (
            moment, n_bytes, start, max(one for one in maps
                                        if one[0] <= start)[1]))


def settled(live, moment):
    """The process at the moment, marked."""
    pid = int(live.stats("end")["pid"])
    wait_until_quiet(pid)
    live.mark(moment)
    found = live.stats(moment)
    try:
        check_ledger(found)
    except AssertionError:
        print_unexplained(live, moment, pid)
        raise
    return found


PYTHONS = ("python_live", "python_large", "python_never_returned",
           "python_holes", "python_free_pools", "python_overhead")


def check_native(process):
    """No figure of Python's, and the note says why."""
    told = {name: process["ledger"][name] for name in PYTHONS
            if process["ledger"][name] is not None}
    same("what is said of Python", (told, process["classes"],
                                    process["types"]), ({}, [], None))
    if not process["note"] or "native" not in process["note"]:
        raise AssertionError("the note is %r" % process["note"])
    return "native view: %s" % process["note"]


def is_more(ours, truth):
    """Of no class less than there is in truth."""
    return ours[1] > truth[1] and all(
        mine >= true for size, row in truth[0].items()
        for mine, true in zip(ours[0].get(size, (0, 0, 0)), row))


def check_classes(process, text, leaves):
    ours = ({row["size"]: (row["pools"], row["used"], row["free"])
             for row in process["classes"]}, process["arenas"]["count"])
    truth = parse_stats(text)
    found = differences(ours, truth)
    if leaves and found and is_more(ours, truth):
        return "classes with what the first one left: %d " \
            "arenas, %d of the second's" % (ours[1], truth[1])
    if found:
        raise AssertionError("; ".join(found))
    if not differences(ours, mutated(truth)):
        raise AssertionError("a block added to the truth goes unnoticed")
    return "classes exact, %d blocks in %d arenas" % (
        sum(row[1] for row in truth[0].values()), truth[1])


def check_python(interpreter, base, built, text, leaves):
    same("torn pools", built["census"]["torn"], 0)
    same("note", built["note"], None)
    counts = [{row["name"]: row["count"] for row in process["types"]}
              for process in (base, built)]
    growth = {name: counts[1].get(name, 0) - counts[0].get(name, 0)
              for name in expected(interpreter)}
    same("what was built", growth, expected(interpreter))
    unknown = [name for name in PYTHONS if built["ledger"][name] is None]
    # To 3.9 free lists are static variables, found by content where they can.
    may_be = [] if interpreter.is_at_least(3, 10) else PYTHONS[2:3]
    same("unknown causes", [one for one in unknown if one not in may_be], [])
    if not interpreter.is_at_least(3):
        return "objects exact"
    return "objects and " + check_classes(built, text, leaves)


def leaves_arenas(way, interpreter):
    """At its second beginning 3.12 forgets the arenas of its first life."""
    return way.name == TWICE and interpreter.version[:2] == (3, 12)


def check_row(way, interpreter):
    chain.fresh_folder()
    with Live(*way.command(interpreter), flags=("--sample", "0"),
              env=environment_of(way, interpreter)) as live:
        moments = []
        for moment in ("base", "built"):
            same("what it says", live.line(), moment)
            moments.append(settled(live, moment))
            live.say("") if moment == "base" else None
        live.process.terminate()
        live.process.wait()
        if way.is_native(interpreter):
            return check_native(moments[1])
        return check_python(interpreter, *moments, live.error(),
                            leaves_arenas(way, interpreter))


def cannot(way, interpreter):
    """Why not, or None."""
    if not interpreter.is_at_least(*way.since):
        return "not before %d.%d" % way.since
    try:
        if way.is_embedded:
            library_of(interpreter)
    except chain.Skip as reason:
        return str(reason)
    return None


def old_and_new(way, since):
    able = [one for one in chain.every_interpreter()
            if one.is_at_least(*since) and cannot(way, one) is None]
    return (able[0], able[-1]) if able else ()


def skip(way, interpreter):
    reason = cannot(way, interpreter)
    if reason is None and way.is_rare and \
            interpreter not in old_and_new(way, way.since):
        return "one old and one new have to do"
    return reason


def rows_of(way):
    return chain.on_every_interpreter(
        functools.partial(check_row, way), functools.partial(skip, way),
        chain.every_interpreter())


def test_other_suites():
    """Interpreters of Debian's other suites are unpacked"""
    missing = chain.fetch_foreign()
    names = [one.name for one in chain.every_interpreter() if one.is_foreign]
    if missing:
        raise chain.Skip("there are %s; missing: %s" % (names, missing))
    same("interpreters", len(names), 5)
    return [(True, ", ".join(names))]


def test_table():
    """Each interpreter in each way"""
    points = []
    for way in WAYS:
        points += [(passed, "%s: %s" % (way.name, sentence))
                   for passed, sentence in rows_of(way)]
    return points


def test_free_threaded():
    """Of free-threaded builds only the native side is shown"""
    points = []
    for interpreter in chain.free_threaded():
        for name in ("default", "PYTHONMALLOC=debug", "PYTHONMALLOC=mimalloc"):
            way = next(one for one in WAYS if one.name == name)
            native = Way(name, way.command, native_to=ALL, **way.environment)
            points.append((True, "%s: %s: %s" % (
                name, interpreter.name, check_row(native, interpreter))))
    if not points:
        raise chain.Skip("none is here; RESIDUE_PYTHONS=PATH may name one")
    return points


# ---- from outside ----------------------------------------------------------

# Nobody has seen mimalloc map, and the file says which version it is.
PREPARED = ("PYTHONMALLOC=mimalloc", "of a version that nobody knows")


def inspect_row(way, interpreter):
    chain.fresh_folder()
    recording = os.path.join(chain.folder, "inspected.rec")
    with open(os.path.join(chain.folder, "said"), "w+b") as said:
        with subprocess.Popen(
                way.command(interpreter), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=said,
                env=environment_of(way, interpreter)) as process:
            try:
                process.stdin.write(b"\n")
                process.stdin.flush()
                same("what it says", [process.stdout.readline() for _ in "12"],
                     [b"base\n", b"built\n"])
                wait_until_quiet(process.pid)
                result = chain.run(chain.chain.residue, "inspect",
                                   str(process.pid), "-o", recording)
            finally:
                process.kill()
        same("status", result.returncode, 0)
        inspected = chain.stats(recording)["processes"][0]
        check_ledger(inspected)
        if way.is_native(interpreter):
            return check_native(inspected)
        said.seek(0)
        return check_classes(inspected, said.read().decode(),
                             leaves_arenas(way, interpreter))


def test_inspected():
    """The same of one that nobody prepared, by an old and a new interpreter"""
    points = []
    for way in WAYS:
        if way.name in PREPARED:
            continue
        for interpreter in old_and_new(way, max(way.since, (3,))):
            try:
                points.append((True, inspect_row(way, interpreter)))
            except Exception as error:
                chain.print_comment(traceback.format_exc())
                points.append((False, str(error)))
            points[-1] = (points[-1][0], "%s: %s: %s" % (
                way.name, interpreter.name, points[-1][1]))
    return points


# ---- a second life ---------------------------------------------------------

COLLECT = """
import gc, sys
for i in range(%d):
    one = []
    one.append(one)
    del one
    gc.collect(i %% 3)
"""
LAST = COLLECT % 17 + """
gc.disable()
if hasattr(gc, 'get_stats'):
    sys.stdout.write(repr(gc.get_stats()))
    sys.stdout.flush()
"""


def live_twice(interpreter):
    command = embedded("linked", "init", "run", COLLECT % 40, "finalize",
                       "init", "run", LAST, "finalize")(interpreter)
    environment = chain.clean_environment(
        PYTHONHOME=library_of(interpreter)[1])
    bare = chain.run(*command, env=environment)
    result, recording = chain.record(*command, env=environment)
    same("status and error", (result.returncode, result.stderr),
         (0, bare.stderr))
    if not interpreter.is_at_least(3):
        return "ends as it does bare"
    process = chain.stats(recording)["processes"][0]
    ours = [{name: row[name] for name in ("collections", "collected",
                                          "uncollectable")}
            for row in process["gc"]]
    true = [{name: row[name] for name in ours[0]}
            for row in ast.literal_eval(result.stdout.decode())]
    same("collections of the second life", ours, true)
    same("census", process["census"]["kind"], "end")
    return "%d collections of the second life" % sum(
        row["collections"] for row in true)


def test_second_life():
    """Who is initialised again is listened to again"""
    return chain.on_every_interpreter(live_twice)


if __name__ == "__main__":
    chain.main(globals())
