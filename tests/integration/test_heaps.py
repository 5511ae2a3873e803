"""Malloc's heaps, chunk by chunk, and what malloc_trim would give back."""
import json

import chain
from chain import Live, clean_environment, same

KIB = 1024

# (name, way, environment): see tests/targets/heaps.c.
NO_TCACHE = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
CASES = [
    ("one heap", "main", {}),
    ("threads", "threads", {}),
    ("threads that share arenas", "threads", {"MALLOC_ARENA_MAX": "3"}),
    ("threads without tcache", "threads", NO_TCACHE),
    ("alignments", "aligned", {}),
    ("chunks that are mappings", "mmapped", {}),
    ("reallocations", "realloc", {}),
    ("reallocations without tcache", "realloc", NO_TCACHE),
]

# A walk by the process itself, in whole chunks, is the truth. How its bytes are
# cut into blocks and headers, and where the top and what is cached are counted,
# may be said in several ways: but in one and the same for all heaps.
FREE_COUNTS = {
    "in bins": lambda one: one["free"],
    "in bins, and the top": lambda one: one["free"] + has_top(one),
    "in bins and cached": lambda one: one["free"] + one["cached"],
    "all": lambda one: one["free"] + one["cached"] + has_top(one),
}
LIVE_BYTES = {
    "chunks": lambda one: one["live_bytes"],
    "usable": lambda one: one["live_bytes"] - 8 * one["live"],
    "less headers": lambda one: one["live_bytes"] - 16 * one["live"],
}
FREE_BYTES = {
    "%s, %s" % (what, header): lambda one, cached=cached, top=top, less=less:
        one["free_bytes"] - less * one["free"] +
        cached * (one["cached_bytes"] - less * one["cached"]) +
        top * (one["top_bytes"] - less * has_top(one))
    for what, cached, top in (("in bins", 0, 0), ("bins and top", 0, 1),
                              ("bins and cached", 1, 0), ("all", 1, 1))
    for header, less in (("chunks", 0), ("usable", 8), ("less headers", 16))
}


def has_top(heap):
    return heap["top_bytes"] > 0


class Conventions:
    """Of several ways to count, those that fitted every heap so far."""

    def __init__(self, what, ways):
        self.what = what
        self.ways = ways
        self.fitting = set(ways)
        self.n_seen = 0

    def see(self, ours, truth):
        fits = {name for name, way in self.ways.items() if way(truth) == ours}
        if not fits & self.fitting:
            raise AssertionError("%s is %d, true would be %r" % (
                self.what, ours, {name: self.ways[name](truth)
                                  for name in sorted(self.fitting)}))
        self.fitting &= fits
        self.n_seen += 1


def conventions():
    return [Conventions("free_chunks", FREE_COUNTS),
            Conventions("live_bytes", LIVE_BYTES),
            Conventions("free_bytes", FREE_BYTES)]


def check_truth(truth):
    """The target's walk found all its own blocks, and little else."""
    others = sum(one["live"] for one in truth["heaps"]) - truth["own"]
    if not 0 <= others <= 100:
        raise AssertionError("%d chunks are live that nobody made" % others)


def compare_heap(ours, truth, counted):
    what = "%s heap at %#x: " % (truth["kind"], truth["address"])
    same(what + "torn", bool(ours["torn"]), False)
    same(what + "chunks", ours["chunks"], truth["live"])
    same(what + "cached_chunks", ours["cached_chunks"], truth["cached"])
    for convention in counted:
        try:
            convention.see(ours[convention.what], truth)
        except AssertionError as error:
            raise AssertionError(what + str(error)) from None
    if not ours["live_bytes"] + ours["free_bytes"] <= ours["bytes"]:
        raise AssertionError(what + "more in it than it has: %r" % ours)
    if not (0 <= ours["trimmable_bytes"] <= ours["resident_bytes"] <=
            ours["bytes"]):
        raise AssertionError(what + "more resident than it has: %r" % ours)


def compare(process, truth, counted):
    if process.get("heaps") is None:
        raise AssertionError("stats --json has no heaps")
    found = {one["address"]: one for one in process["heaps"]
             if one["kind"] != "mmapped"}
    same("heaps", sorted((one["kind"], address)
                         for address, one in found.items()),
         sorted((one["kind"], one["address"]) for one in truth["heaps"]))
    for one in truth["heaps"]:
        compare_heap(found[one["address"]], one, counted)
    mmapped = [one for one in process["heaps"] if one["kind"] == "mmapped"]
    same("mmapped chunks", sum(one["chunks"] for one in mmapped),
         truth["mmapped"])
    same("mmapped bytes", sum(one["bytes"] for one in mmapped),
         truth["mmapped_bytes"])


def compare_trim(process, trimmed):
    """What was foretold is what malloc_trim then gives."""
    gain = trimmed["before"] - trimmed["after"]
    foretold = sum(one["trim_gain_bytes"] or 0 for one in process["heaps"])
    if abs(foretold - gain) > max(64 * KIB, 0.02 * gain):
        raise AssertionError("malloc_trim gave %d, foretold were %d" % (
            gain, foretold))
    return "%d KiB of %d KiB came back, %d KiB were foretold" % (
        gain / KIB, trimmed["before"] / KIB, foretold / KIB)


def points_of(name, way, environment, counted):
    chain.fresh_folder()
    with Live(chain.chain.target("heaps"), way,
              env=clean_environment(**environment)) as live:
        truth = json.loads(live.line())
        check_truth(truth)
        live.mark("quiet")
        live.say("")
        trimmed = json.loads(live.line())
        process = live.stats("quiet")
        same("exit status", live.end(), 0)
    points = []
    for what, check in (("chunks", lambda: compare(process, truth, counted)),
                        ("trim", lambda: compare_trim(process, trimmed))):
        try:
            said = check() or "%d heaps, %d live chunks, %d mappings" % (
                len(truth["heaps"]), sum(one["live"] for one in
                                         truth["heaps"]), truth["mmapped"])
            points.append((True, "%s, %s: %s" % (name, what, said)))
        except (AssertionError, KeyError, TypeError) as error:
            points.append((False, "%s, %s: %r" % (name, what, error)))
    return points


def test_heaps_are_the_targets_own():
    """Heaps, chunk by chunk, are what the process itself finds"""
    points = []
    counted = conventions()
    for name, way, environment in CASES:
        points += points_of(name, way, environment, counted)
    for one in counted:
        print("# %s: %s" % (one.what, " | ".join(sorted(one.fitting))))
        points.append((one.n_seen > 0 and len(one.fitting) > 0,
                       "%s is counted in one way" % one.what))
    return points


# ---- the comparison itself -------------------------------------------------

TRUTH = {"heaps": [
    {"kind": "main", "address": 4096, "live": 1334, "live_bytes": 785952,
     "free": 1104, "free_bytes": 1650704, "cached": 328,
     "cached_bytes": 120112, "top_bytes": 134304},
    {"kind": "thread", "address": 1 << 26, "live": 110, "live_bytes": 9901760,
     "free": 85, "free_bytes": 18363264, "cached": 0, "cached_bytes": 0,
     "top_bytes": 0}],
    "mmapped": 3, "mmapped_bytes": 1200128, "own": 1400}


def reported(free="in bins, and the top"):
    """What a collector would say that is right."""
    heaps = [{"kind": one["kind"], "address": one["address"], "torn": 0,
              "bytes": 1 << 26, "resident_bytes": 1 << 25,
              "trimmable_bytes": 1 << 20, "chunks": one["live"],
              "cached_chunks": one["cached"],
              "live_bytes": LIVE_BYTES["usable"](one),
              "free_chunks": FREE_COUNTS[free](one),
              "free_bytes": FREE_BYTES["all, usable"](one)}
             for one in TRUTH["heaps"]]
    return heaps + [{"kind": "mmapped", "address": 1 << 30, "torn": 0,
                     "chunks": 3, "bytes": 1200128}]


def test_one_chunk_more_is_noticed():
    """A figure that is wrong by a chunk or 16 bytes does not pass"""
    points = []
    compare({"heaps": reported()}, TRUTH, conventions())
    for key, by in (("chunks", 1), ("cached_chunks", -1), ("free_chunks", 1),
                    ("live_bytes", 16), ("free_bytes", -16), ("torn", 1),
                    ("address", 4096)):
        for at in range(2):
            heaps = reported()
            heaps[at][key] += by
            points.append((not passes(heaps), "%s of heap %d" % (key, at)))
    heaps = reported()
    heaps[0]["free_chunks"] = FREE_COUNTS["in bins"](TRUTH["heaps"][0])
    heaps[1]["free_chunks"] = FREE_COUNTS["all"](TRUTH["heaps"][1]) + 1
    points.append((not passes(heaps), "two ways to count"))
    points.append((not passes(reported()[:1] + reported()[2:]), "a heap less"))
    points.append((not passes(reported()[:2]), "no mapping"))
    return points


def passes(heaps):
    try:
        compare({"heaps": heaps}, TRUTH, conventions())
    except AssertionError:
        return False
    return True


if __name__ == "__main__":
    chain.main(globals())
