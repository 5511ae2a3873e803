"""The demo: eighty floats hold what residue says they hold."""
import os

import chain
from chain import on_every_interpreter, run, same, stats

PROGRAM = os.path.join("tests", "scenarios", "floats-that-pin", "program.py")

# The demo, ended in another way. A traceback is printed by a module that 3.14
# imports on its way out: 2.6 MB, in arenas that a float alone would have held.
ENDED = """
import os, signal, sys, traceback
exec(compile(open(%r).read(), 'program.py', 'exec'))
sys.stdout.flush()
%s
"""
WAYS = {
    "at its end": (None, 0),
    "by sys.exit(3)": ("sys.exit(3)", 3),
    "by Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT)\n"
                  "import time; time.sleep(10)", None),
}

TRIES = 4


def held_by_the_programs_own_word(output):
    """RSS after the drop less RSS before the floats."""
    resident = [int(line.split()[-3]) for line in output.decode().splitlines()
                if line.endswith("resident")]
    return resident[2] - resident[0]


def end_of_interrupted(interpreter):
    """How a bare Python says that KeyboardInterrupt ended it."""
    return 130 if interpreter.is_at_least(3, 8) else 1


def read_in_time(process):
    """Whether the end's census came to its end, types and all, while the
    program waited. It waits 30 ms and no more (DESIGN 5): on a machine that is
    busy with something else that can be too short."""
    census = process["census"]
    return census["kind"] == "end" and census["t_us"] == process["types_t_us"]


def run_demo(*command):
    """Returns what the program did and what residue says of it."""
    recording = os.path.join(chain.folder, "demo.rec")
    for _ in range(TRIES):
        result = run(chain.chain.residue, "run", "-q", "-f", "-o", recording,
                     *command)
        found = stats(recording)
        if read_in_time(found["processes"][0]):
            break
        print("# the machine was busy: the end was not read in time")
    return result, found


def check(interpreter, way):
    ending, status = WAYS[way]
    if status is None:
        status = end_of_interrupted(interpreter)
    path = os.path.join(chain.chain.top, PROGRAM)
    arguments = (path,) if ending is None else ("-c", ENDED % (path, ending))
    result, found = run_demo(interpreter.path, *arguments)
    same("exit status", result.returncode, status)
    truth = held_by_the_programs_own_word(result.stdout)
    process = found["processes"][0]
    first = found["verdict"][0]
    if not interpreter.is_at_least(3):
        for finding in found["verdict"]:
            if finding["id"] == "arena-pinning":
                raise AssertionError("2.7 keeps no float in an arena")
        return "%s: no arena is pinned, %s" % (way, first["id"])
    same("kind of census", process["census"]["kind"], "end")
    same("first finding", first["id"], "arena-pinning")
    same("owner", first["owner"], "float")
    error = (first["bytes"] - truth) / truth
    if abs(error) > 0.03:
        raise AssertionError("%s: %d bytes are held, %d said" % (
            way, truth, first["bytes"]))
    if interpreter.is_at_least(3, 10) and not 75e6 < truth < 90e6:
        raise AssertionError("the floats hold %d bytes" % truth)
    return "%s: %.1f MB held, %+.2f %%" % (way, truth / 1e6, 100 * error)


def test_at_its_end():
    """The demo's first finding"""
    return on_every_interpreter(lambda one: check(one, "at its end"))


def test_by_sys_exit():
    """The demo's first finding"""
    return on_every_interpreter(lambda one: check(one, "by sys.exit(3)"))


def test_by_interrupt():
    """The demo's first finding"""
    return on_every_interpreter(lambda one: check(one, "by Ctrl-C"))


if __name__ == "__main__":
    chain.main(globals())
