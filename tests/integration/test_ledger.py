"""The causes add up to RSS, and what nobody can know is unexplained."""
import os
import time

import chain
from chain import Live, on_every_interpreter, record, rows, same, \
    wait_until_quiet

MIB = 1024 * 1024

CAUSES = ("profiler stacks image_private file shmem python_never_returned "
          "python_live python_holes python_free_pools python_overhead "
          "python_large native_live native_overhead native_free mapped_anon "
          "unexplained").split()

# A heap that grows, is thinned and grows again, with threads, for a while.
RESTLESS = """
import threading, time
def churn(n):
    kept = []
    until = time.time() + n
    while time.time() < until:
        kept.append([dict(a=i, b=str(i)) for i in range(2000)])
        if len(kept) > 30:
            del kept[::2]
threads = [threading.Thread(target=churn, args=(3.2,)) for _ in range(3)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""

QUIET = """
import os, signal
kept = [[i] for i in range(200000)]
del kept[::3]
os.write(1, ('%d\\n' % os.getpid()).encode())
signal.pause()
"""


def smaps_rss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024


def check_identity(recording):
    """Every census: the causes are not negative and sum to RSS."""
    sums = rows(recording, "SELECT id, kind, rss_bytes, %s FROM census" %
                " + ".join("coalesce(%s, 0)" % cause for cause in CAUSES))
    for census, kind, rss, total in sums:
        same("sum of the causes at census %d (%s)" % (census, kind), total, rss)
    least = rows(recording, "SELECT min(bytes) FROM v_ledger")[0][0]
    if least < 0:
        raise AssertionError("a cause is negative: %d" % least)
    if not sums:
        raise AssertionError("no census was taken")
    return len(sums)


def restless(interpreter):
    result, recording = record(interpreter.path, "-c", RESTLESS)
    same("exit status", result.returncode, 0)
    n = check_identity(recording)
    if n < 3:
        raise AssertionError("only %d censuses in three seconds" % n)
    return "%d censuses of a restless program each sum to RSS" % n


def test_causes_partition_rss():
    """At every census the causes partition RSS"""
    return on_every_interpreter(restless)


def quiet(interpreter):
    with Live(interpreter.path, "-c", QUIET) as live:
        pid = int(live.line())
        wait_until_quiet(pid)
        for attempt in range(3):
            before = smaps_rss(pid)
            live.mark("quiet %d" % attempt)
            after = smaps_rss(pid)
            process = live.stats("quiet %d" % attempt)
            if before == after:
                break
        same("RSS as smaps_rollup has it", process["rss_bytes"], before)
        same("skew", process["census"]["skew_bytes"], 0)
        same("sum", sum(process["ledger"][cause] or 0 for cause in CAUSES),
             process["rss_bytes"])
        live.process.terminate()
        live.process.wait()
    return "%d bytes, to the byte" % before


def test_rss_is_that_of_the_kernel():
    """At a quiet moment rss_bytes is the Rss of smaps_rollup"""
    return on_every_interpreter(quiet)


def mapped(*arguments):
    """The process, once it has mapped what it maps."""
    with Live(chain.chain.target("raw_map"), *arguments) as live:
        same("what it says", live.line(), "ready")
        live.mark("mapped")
        process = live.stats("mapped")
        same("exit status", live.end(), 0)
    same("sum", sum(process["ledger"][cause] or 0 for cause in CAUSES),
         process["rss_bytes"])
    return process


def test_a_mapping_that_no_hook_saw_is_unexplained():
    """64 MiB mapped by a raw system call are unexplained"""
    ledger = mapped()["ledger"]
    if not 64 * MIB <= ledger["unexplained"] < 65 * MIB:
        raise AssertionError("unexplained is %d" % ledger["unexplained"])


def test_a_stack_that_the_program_supplies():
    """A stack that is a part of a mapping is that part and no more"""
    with Live(chain.chain.target("own_stack")) as live:
        same("it says", live.line(), "ready")
        live.mark("running")
        ledger = live.stats("running")["ledger"]
        same("exit status", live.end(), 0)
    if not 4096 <= ledger["stacks"] <= 1024 * 1024:
        raise AssertionError("%d bytes of stacks" % ledger["stacks"])
    if ledger["mapped_anon"] < 63 * MIB:
        raise AssertionError("%d bytes are mapped_anon" %
                             ledger["mapped_anon"])


def test_a_mapping_by_libc_is_its_makers():
    """64 MiB mapped through libc are mapped_anon, by the program's name"""
    process = mapped("by-libc")
    bytes_mapped = process["ledger"]["mapped_anon"]
    if not 64 * MIB <= bytes_mapped < 65 * MIB:
        raise AssertionError("mapped_anon is %d" % bytes_mapped)
    largest = process["mappings"][0]
    same("who made it", largest["module"], "raw_map")
    same("resident", largest["resident_bytes"], 64 * MIB)


def test_reading_leaves_the_target_as_it_is():
    """A census makes no page of the target resident"""
    with Live(chain.chain.target("raw_map")) as live:
        live.line()
        pid = live.stats("end")["pid"] if os.path.exists(live.recording) \
            else None
        live.mark("first")
        pid = live.stats("first")["pid"]
        before = smaps_rss(pid), vm_pte(pid)
        for i in range(5):
            live.mark("again %d" % i)
        time.sleep(0.1)
        same("Rss and page tables", (smaps_rss(pid), vm_pte(pid)), before)
        live.end()


def vm_pte(pid):
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith("VmPTE:"):
                return int(line.split()[1])


if __name__ == "__main__":
    chain.main(globals())
