"""Each block of the object allocator: what was told of is what a census finds.

The stream and the heap are two witnesses. At a quiet moment they name the same
blocks, each with the same size class, what is on free lists included.
"""
import os
import signal

import chain
from chain import Live, on_every_interpreter, same, wait_until_quiet
from objects import BUILD

# Classes of every size, blocks that grow out of the allocator and back into it,
# by several threads, and some that survive.
CHURN = BUILD + """
import threading

def grow_and_shrink(n):
    kept = []
    for i in range(n):
        one = []
        for j in range(i % 90):
            one.append(j)
        del one[i % 7:]
        text = bytearray(i % 600)
        text.extend(b'x' * (i % 300))
        del text[i % 50:]
        table = dict((k, k) for k in range(i % 40))
        if i % 3 == 0:
            kept.append((one, text, table))
    return kept

kept = []

def work():
    kept.append(grow_and_shrink(4000))

build()
clear()
threads = [threading.Thread(target=work) for i in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
del threads, one
os.write(1, b'churned\\n')
os.read(0, 1)
build()
del kept[::2]
gc.collect()
os.write(1, b'built\\n')
signal.pause()
"""


def not_before_3(interpreter):
    return None if interpreter.is_at_least(3) else "of 2.7 they are not told"


def compare(interpreter):
    said = []
    with Live(interpreter.path, "-c", CHURN, flags=("--exact",)) as live:
        for moment in ("churned", "built"):
            same("its word", live.line(), moment)
            wait_until_quiet(int(live.stats("end")["pid"]))
            live.mark(moment)
            process = live.stats(moment)
            objects = process["objects"]
            same("loss", process["loss"]["events"], 0)
            same("only told, only found, orphans", (
                objects["only_told"], objects["only_found"],
                objects["orphans"]), (0, 0, 0))
            same("blocks in use", objects["live_blocks"],
                 objects["found_blocks"])
            said.append("%d of %d" % (objects["live_blocks"],
                                      objects["allocs"]))
            if moment == "churned":
                live.say("")
    return "blocks that live, of all: %s, difference 0" % ", ".join(said)


def test_objects_are_those_of_the_census():
    """The blocks that were told of are those in use"""
    return on_every_interpreter(compare, not_before_3,
                                of=chain.every_interpreter())


FORKED = CHURN.split("build()\nclear()")[0] + """
build()
clear()
work()
child = os.fork()
if child == 0:
    del kept[0][::3]
    build()
    os.write(1, b'%d\\n' % os.getpid())
    signal.pause()
os.waitpid(child, 0)
"""


def of_child(interpreter):
    with Live(interpreter.path, "-c", FORKED, flags=("--exact",)) as live:
        child = int(live.line())
        wait_until_quiet(child)
        live.mark("forked", pid=child)
        objects = next(one["objects"] for one in
                       chain.stats(live.recording, "forked")["processes"]
                       if one["pid"] == child)
        os.kill(child, signal.SIGKILL)
        same("only told, only found, orphans", (
            objects["only_told"], objects["only_found"],
            objects["orphans"]), (0, 0, 0))
    return "blocks that live: %d, born by itself %d, difference 0" % (
        objects["live_blocks"], objects["allocs"])


def test_a_forked_child_has_its_parents_objects():
    """A child's objects are its parent's at the fork, and its own"""
    return on_every_interpreter(of_child, not_before_3)


# What is set, and whether objects are told then.
WAYS = (
    ({"PYTHONMALLOC": "pymalloc"}, ("--exact",), True),
    ({"PYTHONTRACEMALLOC": "1"}, ("--exact",), True),
    ({}, ("--exact", "--native-stacks"), True),
    ({"PYTHONMALLOC": "debug"}, ("--exact",), False),
    ({"PYTHONMALLOC": "malloc"}, ("--exact",), False),
    ({"PYTHONMALLOCSTATS": "1"}, ("--exact",), False),
    ({}, (), False),
)


def of_way(interpreter, settings, flags, are_told):
    with Live(interpreter.path, "-c", CHURN, flags=flags,
              env=chain.clean_environment(**settings)) as live:
        same("its word", live.line(), "churned")
        wait_until_quiet(int(live.stats("end")["pid"]))
        live.mark("churned")
        objects = live.stats("churned")["objects"]
    if not are_told:
        same("figures of objects", set(objects.values()), {None})
        return "nothing is told"
    same("only told, only found, orphans", (
        objects["only_told"], objects["only_found"],
        objects["orphans"]), (0, 0, 0))
    return "%d blocks live, difference 0" % objects["live_blocks"]


def test_ways():
    """Where another allocator is in force, nothing is told rather than less"""
    points = []
    threes = [one for one in chain.interpreters() if one.is_at_least(3)]
    for interpreter in (threes[0], threes[-1]):
        for settings, flags, are_told in WAYS:
            chain.fresh_folder()
            points.append((True, "%s, %r %s: %s" % (
                interpreter.name, settings, " ".join(flags),
                of_way(interpreter, settings, flags, are_told))))
    return points


if __name__ == "__main__":
    chain.main(globals())
