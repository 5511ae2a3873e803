"""What the verdict says of malloc's heaps is what malloc_trim then does."""
import chain
from chain import Live, clean_environment, same, stats

KIB = 1024
MIB = 1024 * KIB

# (way, the finding, where it lies): see tests/targets/free_heap.c.
SAID = {
    "trimmable": ("heap-trimmable", "in the main heap"),
    "threads": ("heap-trimmable", "in 4 heaps of threads"),
    "pinned": ("heap-page-pinned", "in the main heap"),
}
OF_HEAPS = ("heap-trimmable", "heap-page-pinned")


def run_target(way):
    """(the findings of heaps by id, the process, what trimming gave)"""
    with Live(chain.chain.target("free_heap"), way,
              env=clean_environment()) as live:
        same("the program says", live.line(), "done")
        live.mark("quiet")
        live.say("")
        before, after = (int(word) * KIB for word in live.line().split())
        found = stats(live.recording, "quiet")
        same("exit status", live.end(), 0)
    said = {one["id"]: one for one in found["verdict"]
            if one["id"] in OF_HEAPS}
    return said, found["processes"][0], before - after


def close_to(what, ours, truth):
    if abs(ours - truth) > max(64 * KIB, 0.02 * truth):
        raise AssertionError("%s: ours %d, true %d" % (what, ours, truth))


def test_free_pages_are_what_trimming_gives():
    """heap-trimmable: its bytes come back by malloc_trim"""
    points = []
    for way in ("trimmable", "threads"):
        chain.fresh_folder()
        said, process, gain = run_target(way)
        id_, place = SAID[way]
        same("findings", list(said), [id_])
        finding = said[id_]
        close_to("what returns", finding["returns_bytes"], gain)
        close_to("bytes", finding["bytes"], gain)
        same("confidence", finding["confidence"], "high")
        if place not in finding["sentence"]:
            raise AssertionError("%r lacks %r" % (finding["sentence"], place))
        same("advises fewer arenas", "MALLOC_ARENA_MAX" in finding["action"],
             way == "threads")
        if process["ledger"]["native_free"] < finding["bytes"]:
            raise AssertionError("more than native_free: %r" % process)
        points.append((True, "%s: %d KiB said, %d KiB came back" % (
            way, finding["bytes"] / KIB, gain / KIB)))
    return points


def test_free_bytes_beside_live_blocks_stay():
    """heap-page-pinned: its bytes stay where they are, whatever is trimmed"""
    said, process, gain = run_target("pinned")
    id_, place = SAID["pinned"]
    same("findings", list(said), [id_])
    finding = said[id_]
    same("what returns", finding["returns_bytes"], 0)
    if place not in finding["sentence"]:
        raise AssertionError("%r lacks %r" % (finding["sentence"], place))
    if gain > MIB:
        raise AssertionError("malloc_trim gave %d" % gain)
    # 7 of 8 blocks of 512 bytes with their headers.
    close_to("bytes", finding["bytes"], 80000 // 8 * 7 * 512)
    same("of the ledger's native_free, pages and all",
         process["ledger"]["native_free"] - finding["bytes"] < MIB, True)
    return [(True, "%d KiB said, %d KiB came back" % (
        finding["bytes"] / KIB, gain / KIB))]


def test_a_heap_that_was_given_back_is_no_finding():
    """The healthy twin has nothing to say of its heap"""
    said, process, gain = run_target("whole")
    same("findings", list(said), [])
    if process["ledger"]["native_free"] > MIB or gain > MIB:
        raise AssertionError("%d free, %d came back" % (
            process["ledger"]["native_free"], gain))


if __name__ == "__main__":
    chain.main(globals())
