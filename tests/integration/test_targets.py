"""Of every program of tests/targets what lives is known, by both oracles' word.

Each source there is on one list: those that test_lifecycle and test_exact run
beside the locked oracle are run here beside the one without a lock; all others
beside both, in one of their ways at least; and of the rest it is said why not.
"""
import glob
import os

import chain
import test_lifecycle as lifecycle
from chain import same
from oracle import LOCK_FREE, LOCKED, follow

# Run elsewhere beside the locked oracle.
ELSEWHERE = {
    "closing.c": "test_lifecycle", "crowd.c": "test_lifecycle",
    "early_exit.c": "test_lifecycle", "ends.c": "test_lifecycle",
    "exchange.c": "test_exact", "family.c": "test_kills",
    "forks.c": "test_lifecycle", "unnoted.c": "test_lifecycle",
    "handlers.c": "test_lifecycle", "late.c": "test_lifecycle",
    "limits.c": "test_lifecycle", "plugins.c": "test_lifecycle",
    "sandbox.c": "test_lifecycle", "spawns.c": "test_lifecycle",
}

NOT_RUN = {
    "no_environment.c": "without one no oracle knows where to write; "
                        "test_lifecycle runs it without",
    "shadow.c": "an oracle", "birthmark.c": "an oracle",
    "plug.c": "loaded by plugins", "plugin.c": "loaded by sites",
    "heap_walk.c": "a part of heaps",
    "embed.c": "needs an interpreter's library; test_interpreters runs it",
}

BOTH = (LOCKED, LOCK_FREE)
ONE = (LOCK_FREE,)


def target(name, *arguments):
    return (chain.chain.target(name),) + arguments


def programs():
    """(command, number of processes, oracles), each with an end of its own or
    that of its input, which is one line."""
    plugins = (chain.chain.target("libplugin_a.so"),
               chain.chain.target("libplugin_b.so"))
    return [
        (target("counters", "3", "200"), 1, BOTH),
        (target("early_map"), 1, BOTH),
        (target("exchange", "3", "5000"), 1, ONE),
        (target("forged", "pools"), 1, BOTH),
        (target("forged", "heap"), 1, ONE),
        # 200 children: the table of the locked one is 16 MiB for each.
        (target("fork_then_thread"), 201, ONE),
        (target("free_heap", "whole"), 1, BOTH),
        (target("handle_in_job"), 1, BOTH),
        (target("handover", "4", "1000"), 1, (LOCKED,)),
        (target("heaps", "threads"), 1, BOTH),
        (target("heaps", "aligned"), 1, ONE),
        (target("heaps", "mmapped"), 1, ONE),
        (target("heaps", "realloc"), 1, ONE),
        (target("overrun"), 1, BOTH),
        (target("own_stack"), 1, BOTH),
        (target("page_kinds", "forked"), 2, BOTH),
        (target("raw_map"), 1, BOTH),
        (target("refuse_vm_readv", *target("ends", "return")), 1, BOTH),
        (target("sampled", "2"), 3, BOTH),
        (target("sites", *plugins), 1, BOTH),
        (target("sites", *plugins, "unseen"), 1, ONE),
        (target("sparse", "blocks", "16"), 1, BOTH),
        (target("sparse", "chunks", "100"), 1, ONE),
    ]


def test_list():
    """Every source of tests/targets is on a list"""
    sources = {os.path.basename(path) for path in
               glob.glob(os.path.join(chain.chain.source(""), "*.c"))}
    here = {os.path.basename(command[0]) + ".c"
            for command, _, _ in programs()}
    for name, where in sorted(ELSEWHERE.items()):
        print("# %s: %s, and here without a lock" % (name, where))
    for name, why in sorted(NOT_RUN.items()):
        print("# %s: %s" % (name, why))
    same("on no list, or gone",
         sources ^ (here | set(ELSEWHERE) | set(NOT_RUN)), set())
    return [(True, "%d here, %d elsewhere, %d not run" % (
        len(here - set(ELSEWHERE)), len(ELSEWHERE), len(NOT_RUN)))]


def test_programs():
    """What lives at their ends is known"""
    points = []
    for command, n_processes, oracles in programs():
        name = " ".join(os.path.basename(word) for word in command)
        for oracle in oracles:
            chain.fresh_folder()
            try:
                sentence = follow(*command, oracle=oracle, input=b"\n")
                same("processes", int(sentence.split()[0]), n_processes)
                points.append((True, "%s, %s: %s" % (name, oracle, sentence)))
            except AssertionError as error:
                points.append((False, "%s, %s: %s" % (name, oracle, error)))
    return points


def without_a_lock(test):
    lifecycle.ORACLE = LOCK_FREE
    try:
        return test()
    finally:
        lifecycle.ORACLE = LOCKED


def test_children():
    """A child has its parent's blocks and then its own, without a lock"""
    return without_a_lock(lifecycle.test_children)


def test_ends():
    """However they end, without a lock"""
    return without_a_lock(lifecycle.test_ends)


def test_threads():
    """Of threads, from their first to their last call, without a lock"""
    return without_a_lock(lifecycle.test_threads)


def test_handlers():
    """Of signal handlers, without a lock"""
    return without_a_lock(lifecycle.test_handlers)


def test_descriptors_and_libraries():
    """Of who closes all descriptors, or loads and unloads, without a lock"""
    few = lifecycle.limit(256, 1024)
    plug = chain.chain.target("libplug.so")
    return without_a_lock(lambda: lifecycle.points([
        ("closed below the limit", target("closing", "loop"), 1, few),
        ("covered below the limit", target("closing", "over"), 1, few),
        ("dlopen and dlclose", target("plugins", plug, "churn"), 1, {}),
    ]))


def test_limits():
    """Where the kernel refuses, without a lock"""
    return without_a_lock(lifecycle.test_limits)


if __name__ == "__main__":
    chain.main(globals())
