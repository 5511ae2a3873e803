"""Size classes and arenas are the interpreter's own, block for block."""
import copy
import os
import re
import shutil

import chain
from chain import Live, NOBODY, for_everybody, need_root, \
    on_every_interpreter, run, same, wait_until_quiet

# Fragments a heap, tells its own statistics, and touches nothing afterwards.
PROGRAM = """
import gc, os, random, signal, sys
random.seed(7)
class Thing(object):
    def __init__(self, i):
        self.a = i
kept = [[i, i * 0.5, {i: 'x%d' % i}, (i, None), Thing(i), set([i])]
        for i in range(20000)]
junk = [bytearray(i % 480 + 1) for i in range(60000)] + [b'y' * (i % 500 + 1)
        for i in range(60000)] + [(i, i) for i in range(30000)]
random.shuffle(junk)
del junk[len(junk) // 3:]
del kept[::3]
gc.collect()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
tell = getattr(sys, '_debugmallocstats', None)
pause = signal.pause
os.write(1, ('%d\\n' % os.getpid()).encode())
if tell is not None:
    tell()
pause()
"""

ROW = re.compile(r"^\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*$", re.M)
ARENAS = re.compile(r"# arenas allocated current\s*=\s*([\d,]+)")


def parse_stats(text):
    """sys._debugmallocstats(): {size: (pools, used, free)}, arenas."""
    classes = {int(size): (int(pools), int(used), int(free))
               for _, size, pools, used, free in ROW.findall(text)}
    arenas = ARENAS.search(text)
    if not classes or not arenas:
        raise AssertionError("these are no statistics: %r" % text[:400])
    return classes, int(arenas.group(1).replace(",", ""))


def differences(ours, truth):
    """Every figure in which two (classes, arenas) differ."""
    found = []
    if ours[1] != truth[1]:
        found.append("arenas %d, true %d" % (ours[1], truth[1]))
    for size in sorted(set(ours[0]) | set(truth[0])):
        mine = ours[0].get(size, (0, 0, 0))
        true = truth[0].get(size, (0, 0, 0))
        if mine != true:
            found.append("class %d is %s, true %s" % (size, mine, true))
    return found


def mutated(truth):
    """The truth with one block more in use, which must be noticed."""
    classes, arenas = copy.deepcopy(truth)
    size = max(classes, key=lambda one: classes[one][1])
    pools, used, free = classes[size]
    classes[size] = (pools, used + 1, free - 1)
    return classes, arenas


def arenas_by_gdb(pid):
    """2.7 has no statistics: its arenas[] through the debugger."""
    if not shutil.which("gdb"):
        raise AssertionError("gdb is not installed")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "arenas27.py")
    result = run("gdb", "-p", str(pid), "-batch", "-nx", "-x", script)
    classes = {}
    arenas = None
    for line in result.stdout.decode().splitlines():
        words = line.split()
        if words[:1] == ["CLASS"]:
            size, pools, used, free = map(int, words[1:])
            classes[size] = (pools, used, free)
        elif words[:1] == ["ARENAS"]:
            arenas = int(words[1])
    if arenas is None:
        raise AssertionError("gdb found no arenas: %s" %
                             (result.stdout + result.stderr).decode()[-600:])
    return classes, arenas


def ours_at(live, moment):
    process = live.stats(moment)
    same("torn pools", process["census"]["torn"], 0)
    classes = {row["size"]: (row["pools"], row["used"], row["free"])
               for row in process["classes"]}
    return classes, process["arenas"]["count"]


def compare(interpreter, program=PROGRAM, path=None, **options):
    with Live(path or interpreter.path, "-c", program, **options) as live:
        pid = int(live.line())
        wait_until_quiet(pid)
        live.mark("quiet")
        ours = ours_at(live, "quiet")
        if interpreter.is_at_least(3):
            truth = parse_stats(live.error())
        else:
            truth = arenas_by_gdb(pid)
        live.process.terminate()
        live.process.wait()
    found = differences(ours, truth)
    if found:
        raise AssertionError("; ".join(found))
    if not differences(ours, mutated(truth)):
        raise AssertionError("a block added to the truth goes unnoticed")
    return "%d classes, %d blocks in use, %d arenas, difference 0" % (
        len(truth[0]), sum(row[1] for row in truth[0].values()), truth[1])


def without_symbols(interpreter):
    if interpreter.is_foreign and not interpreter.is_at_least(3):
        return "it has no symbols for gdb, nor statistics of its own"
    return None


def test_every_class_and_the_number_of_arenas():
    """The class table is the interpreter's own"""
    return on_every_interpreter(compare, without_symbols,
                                chain.every_interpreter())


# ---- whatever rights there are ---------------------------------------------

HIDDEN = """
import ctypes
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
""" + PROGRAM


def refusing():
    return (chain.chain.target("refuse_vm_readv"),)


def test_without_process_vm_readv():
    """The figures are the same with process_vm_readv refused"""
    compare(chain.some_python(), before=refusing())


def test_as_another_user():
    """The figures are the same as another user without capabilities"""
    need_root()
    with for_everybody() as environment:
        compare(chain.some_python(), before=NOBODY, env=environment)


def test_with_dumpable_0():
    """The figures are the same with PR_SET_DUMPABLE 0"""
    compare(chain.some_python(), program=HIDDEN)


def test_with_everything_refused():
    """The figures are the same with all of it at once"""
    need_root()
    with for_everybody() as environment:
        compare(chain.some_python(), program=HIDDEN,
                before=NOBODY + refusing(), env=environment)


def test_with_a_program_that_may_not_be_read():
    """The figures are the same for a program that may only be executed"""
    need_root()
    hidden = os.path.join(chain.folder, "python")
    shutil.copy(chain.some_python().path, hidden)
    os.chmod(hidden, 0o711)
    with for_everybody() as environment:
        compare(chain.some_python(), path=hidden, before=NOBODY,
                env=environment)


if __name__ == "__main__":
    chain.main(globals())
