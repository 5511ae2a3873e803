"""Of threads that hand blocks to one another nothing is missing, without a lock.

The locked oracle puts threads into an order of its own, behind which an error in
ours could hide. Here nothing does: the program (tests/targets/handover.c) runs
alone with residue's library, and what it holds at its end is its own word; or
beside an oracle in which each thread keeps its own log (birthmark.c).

In one arena without the threads' caches every block that is freed is at once
what any other thread is given next: no order is as easily got wrong.
"""
import glob
import os

import chain
from chain import same
from oracle import LOCK_FREE, Collector, Lives, Unheard, again, \
    check_lossless, follow

SIZES = ((1, 60000), (4, 20000), (8, 10000), (64, 1000))  # threads, rounds
MORE = 4  # times the rounds where no log has to be read
ONE_ARENA = ("env", "GLIBC_TUNABLES=glibc.malloc.arena_max=1:"
             "glibc.malloc.tcache_count=0")


def command(n_threads, n_rounds, before=()):
    return before + (chain.chain.target("handover"), str(n_threads),
                     str(n_rounds))


def run_alone(n_threads, n_rounds, before):
    """What it says it holds, and what we say it has: {address: bytes}."""
    chain.fresh_folder()
    with Collector(oracle=None) as collector:
        result = collector.run(*command(n_threads, n_rounds, before))
        collector.end()
        same("exit status", (result.returncode, result.stderr), (0, b""))
        check_lossless(collector.recording())
        paths = glob.glob(os.path.join(collector.folder, "*.live"))
        if not paths:
            raise Unheard("nobody was")
        same("processes", len(paths), 1)
        ours = Lives(paths[0])
    same("orphans, doubles", (ours.orphans, ours.doubles), (0, 0))
    held = {}
    for line in result.stdout.split(b"\n")[:-1]:
        address, n_bytes = line.split()
        held[int(address, 16)] = int(n_bytes)
    if not ours.blocks and (held or n_threads > 1):
        raise Unheard("it told nothing")
    return held, ours.blocks


def alone_once(n_threads, n_rounds, before):
    """What it has besides is libc's: what it has too if it hands over none."""
    idle, of_libc = run_alone(n_threads, 0, before)
    same("held in no rounds", idle, {})
    held, ours = run_alone(n_threads, n_rounds, before)
    same("what it holds", {addr: ours.get(addr) for addr in held}, held)
    besides = [size for addr, size in ours.items() if addr not in held]
    same("sizes of libc's own", sorted(besides), sorted(of_libc.values()))
    return "%d threads, %d rounds: %d blocks held, %d of libc's" % (
        n_threads, n_rounds, len(held), len(besides))


def alone(before):
    return [(True, again(alone_once, n_threads, MORE * n_rounds, before))
            for n_threads, n_rounds in SIZES]


def marked(before):
    points = []
    for n_threads, n_rounds in SIZES:
        chain.fresh_folder()
        points.append((True, "%d threads: %s" % (n_threads, follow(
            *command(n_threads, n_rounds, before), oracle=LOCK_FREE))))
    return points


def test_alone():
    """What a program without an oracle holds is what it has"""
    return alone(())


def test_alone_in_one_arena():
    """And where each block is at once another thread's"""
    return alone(ONE_ARENA)


def test_marked():
    """What each thread notes by itself adds up to what lives"""
    return marked(())


def test_marked_in_one_arena():
    """And where each block is at once another thread's"""
    return marked(ONE_ARENA)


if __name__ == "__main__":
    chain.main(globals())
