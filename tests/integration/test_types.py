"""Objects by type: as many as were built, and as the interpreter tracks."""
import json

import chain
from chain import Live, on_every_interpreter, wait_until_quiet
from objects import BUILD, G, N, S, expected

PROGRAM = BUILD + """
import json

def tracked():
    counts = {}
    for one in gc.get_objects():
        name = type(one).__name__
        counts[name] = counts.get(name, 0) + 1
    return counts

def tell(text):
    os.write(1, (text + '\\n').encode())
    os.read(0, 1)

build()
clear()
json.dumps(tracked())
gc.collect()
tell('base')
build()
tell('built')
gc.collect()
gc.disable()
tell(json.dumps(tracked()))
"""

# Types whose objects the collector always tracks and that fit into pymalloc.
TRACKED = ("Counted", "Slotted", "set", "generator", "function", "module",
           "builtin_function_or_method", "method_descriptor",
           "wrapper_descriptor", "getset_descriptor", "member_descriptor",
           "cell", "list")


def counts_at(live, moment):
    process = live.stats(moment)
    return {row["name"]: row["count"] for row in process["types"]}


def differences(moments, growth, tracked):
    """Every count that is not what was built, or not what gc tracks."""
    wrong = ["%s grew by %d, built %d" % (name, grown, built)
             for name, built in growth.items()
             for grown in [moments["built"].get(name, 0) -
                           moments["base"].get(name, 0)]
             if grown != built]
    wrong += ["%s: %d, tracked %d" % (name, moments["tracked"].get(name, 0),
                                      tracked[name])
              for name in TRACKED if name in tracked
              and moments["tracked"].get(name, 0) != tracked[name]]
    return wrong


def diff_of(recording):
    """What `residue diff` says that build() added."""
    result = chain.run(chain.chain.residue, "diff", "--json",
                       recording + "@base", recording + "@built")
    process = json.loads(result.stdout)["processes"][0]
    return {row["name"]: row["count"][1] - row["count"][0]
            for row in process["types"]}


def compare(interpreter):
    with Live(interpreter.path, "-c", PROGRAM) as live:
        moments = {}
        for moment in ("base", "built", "tracked"):
            said = live.line()
            wait_until_quiet(int(live.stats("end")["pid"]))
            live.mark(moment)
            moments[moment] = counts_at(live, moment)
            live.say("") if moment != "tracked" else None
        live.process.stdin.close()
        live.process.wait()
        diff = diff_of(live.recording)
    truth = json.loads(said)
    wrong = differences(moments, expected(interpreter), truth)
    if wrong:
        raise AssertionError("; ".join(wrong))
    growth = {name: diff.get(name) for name in expected(interpreter)}
    chain.same("residue diff", growth, expected(interpreter))
    altered = dict(truth, set=truth["set"] + 1)
    if not differences(moments, expected(interpreter), altered):
        raise AssertionError("a set added to the truth goes unnoticed")
    return "%d instances, %d sets, %d generators and all tracked types, " \
        "difference 0" % (N, S, G)


def test_types_are_counted():
    """Objects by type are as many as there are"""
    return on_every_interpreter(compare, of=chain.every_interpreter())


# ---- more types than there is room for -------------------------------------

CROWD = """
import os
def tell():
    os.write(1, b'ready\\n')
    os.read(0, 1)
class Many(object):
    pass
many = [Many() for i in range(3000)]
classes = [type('Class%d' % i, (object,), {}) for i in range(20000)]
ones = [one() for one in classes]
tell()
"""
MOST_TYPES = 1024


def compare_crowd(interpreter):
    with Live(interpreter.path, "-c", CROWD) as live:
        live.line()
        wait_until_quiet(int(live.stats("end")["pid"]))
        live.mark("crowd")
        process = live.stats("crowd")
        live.end()
    types = {row["name"]: row["count"] for row in process["types"]}
    in_use = sum(row["used"] for row in process["classes"])
    chain.same("blocks, by type", sum(types.values()), in_use)
    chain.same("a class of many", types["Many"], 3000)
    n_most, = chain.rows(live.recording, "SELECT max(n) FROM (SELECT count(*)"
                         " AS n FROM type GROUP BY census)")[0]
    chain.same("rows of a census", n_most, MOST_TYPES)
    n_named = sum(name.startswith("Class") for name in types)
    if types["(other)"] < 20000 - n_named:
        raise AssertionError("%d are in the sum, %d are not" % (
            types["(other)"], n_named))
    return "%d types in all, %d rows, %d objects in the last" % (
        20000, n_most, types["(other)"])


def test_more_types_than_there_is_room_for():
    """Of 20,000 types the least are one row, and no block is lost"""
    return on_every_interpreter(compare_crowd)


if __name__ == "__main__":
    chain.main(globals())
