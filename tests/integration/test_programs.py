"""Of real programs, unexplained is under 1 % of RSS at every census.

Each of them is loaded for some seconds under `residue run`, with marks, and
every census of every process of the recording is judged. Prints a row of a
table for each (`# | ...`). For longer loads, and for a few of them:

    RESIDUE_LOAD_SECONDS=30 RESIDUE_PROGRAMS=redis,postgres
"""
import os
import traceback

import chain
import programs
from chain import rows, same, stats
from test_ledger import CAUSES

LIMIT = 0.01
SECONDS = float(os.environ.get("RESIDUE_LOAD_SECONDS", "3"))
IDLE_SECONDS = min(SECONDS, 0.6) if SECONDS <= 3 else SECONDS
WANTED = os.environ.get("RESIDUE_PROGRAMS", "").split(",")


# ---- judging ---------------------------------------------------------------

class EndUnread(AssertionError):
    """All is explained but an end whose heaps were not read in its time."""


class Census:
    def __init__(self, row):
        self.id, self.kind, self.label, self.rss, self.exe = row[:5]
        self.is_cut = self.kind == "end" and row[5] == 1
        self.causes = dict(zip(CAUSES, (value or 0 for value in row[6:])))
        self.name = os.path.basename(self.exe or "?")

    def share(self, cause):
        return self.causes[cause] / self.rss if self.rss else 0

    def check_identity(self):
        what = "census %d (%s, %s)" % (self.id, self.kind, self.name)
        same("sum of the causes at " + what, sum(self.causes.values()),
             self.rss)
        least = min(self.causes, key=self.causes.get)
        if self.causes[least] < 0:
            raise AssertionError("%s is %d at %s" % (
                least, self.causes[least], what))

    def largest(self):
        three = sorted(self.causes, key=self.causes.get, reverse=True)[:3]
        return ", ".join("%s %.0f %%" % (cause, 100 * self.share(cause))
                         for cause in three)


def censuses_of(recording):
    return [Census(row) for row in rows(
        recording, "SELECT c.id, c.kind, c.label, c.rss_bytes, p.exe, "
        "(SELECT max(is_torn) FROM heap WHERE census = c.id), %s "
        "FROM census c JOIN process p ON p.id = c.process ORDER BY c.id" %
        ", ".join("c." + cause for cause in CAUSES))]


def judge(name, recording):
    """Prints the program's row; a sentence, or an assertion."""
    censuses = censuses_of(recording)
    if not any(one.kind == "mark" for one in censuses):
        raise AssertionError("no census of a mark")
    for one in censuses:
        one.check_identity()
    worst = max(censuses, key=lambda one: one.share("unexplained"))
    print("# | %s | %d | %.2f | %.1f (%s, %s) | %s |" % (
        name, len(censuses), 100 * worst.share("unexplained"),
        worst.rss / 1048576, worst.name, worst.label or worst.kind,
        worst.largest()))
    over = [one for one in censuses if one.share("unexplained") >= LIMIT]
    if over:
        is_unread = all(one.is_cut for one in over)
        raise (EndUnread if is_unread else AssertionError)(
            "%d of %d censuses have 1 %% and more unexplained, the worst %.2f "
            "%% of %d bytes (census %d, %s of %s)" % (
                len(over), len(censuses), 100 * worst.share("unexplained"),
                worst.rss, worst.id, worst.label or worst.kind, worst.name))
    return "%s: under 1 %% at each of %d censuses" % (name, len(censuses))


# ---- running ---------------------------------------------------------------

def is_wanted(driver):
    return any(one in driver.name for one in WANTED)


def run_and_judge(driver, seconds, look):
    """A program waits 30 ms or 1 % of its life for its end to be read. On a
    machine that is busy with something else this may be too short for a large
    heap: then it is run again, at most four times, and this is said."""
    for attempt in range(4):
        chain.fresh_folder()
        recording = programs.run_under_load(
            driver, seconds, look, n_marks=max(3, int(seconds / 5)))
        try:
            return judge(driver.name, recording)
        except EndUnread as unread:
            print("# run %d, to be repeated: %s" % (attempt + 1, unread))
    raise AssertionError("%s: not explained in four runs" % driver.name)


def points_of(driver, seconds, look=None):
    """What running one program says."""
    reason = driver.why_not()
    if reason:
        return [(True, "%s # SKIP %s" % (driver.name, reason))]
    try:
        return [(True, run_and_judge(driver, seconds, look))]
    except Exception as error:
        if not isinstance(error, AssertionError):
            chain.print_comment(traceback.format_exc())
        return [(False, "%s: %s" % (driver.name, error))]


def points_of_all(drivers, seconds):
    """One point each, and one that none was left out unsaid."""
    print("# | program | censuses | most unexplained, % | of RSS, MiB | "
          "largest causes |")
    print("# |---|---|---|---|---|")
    points = []
    wanted = [one for one in drivers if is_wanted(one)]
    for driver in wanted:
        points += points_of(driver, seconds)
    n_skipped = sum(" # SKIP " in sentence for _, sentence in points)
    print("# programs found %d, run %d, skipped %d: %s" % (
        len(wanted) - n_skipped, len(wanted) - n_skipped, n_skipped,
        ", ".join(one.name for one in wanted)))
    points.append((len(points) == len(wanted) and n_skipped <= len(wanted) / 2,
                   "of %d programs, run %d, skipped for a reason %d" % (
                       len(wanted), len(wanted) - n_skipped, n_skipped)))
    return points


def test_idle_pythons():
    """An idle interpreter is explained"""
    return points_of_all([programs.IdlePython(one)
                          for one in chain.interpreters()], IDLE_SECONDS)


def test_busy_pythons():
    """An interpreter that makes and reads JSON is explained"""
    return points_of_all([programs.JsonPython(one)
                          for one in chain.interpreters()], SECONDS)


def test_programs():
    """A real program under load is explained"""
    return points_of_all(programs.drivers(), SECONDS)


def check_mappings(driver):
    """What redis has is jemalloc's, and is called so."""
    driver.live.mark("loaded")
    process, = stats(driver.live.recording, "loaded")["processes"]
    if "mappings" not in process:
        raise AssertionError("stats --json has no mappings")
    found = sorted(process["mappings"], key=lambda one: one["resident_bytes"])
    module = os.path.basename(found[-1]["module"] or "?")
    if not module.startswith(("libjemalloc", "redis-server")):
        raise AssertionError("the largest mappings are of %s" % module)
    for one in found:
        if not 0 <= one["resident_bytes"] <= one["bytes"] or one["count"] < 1:
            raise AssertionError("a mapping like %r" % one)
    same("mapped_anon", sum(one["resident_bytes"] for one in found),
         process["ledger"]["mapped_anon"])
    if process["ledger"]["mapped_anon"] < process["rss_bytes"] / 2:
        raise AssertionError("mapped_anon is %d of %d" % (
            process["ledger"]["mapped_anon"], process["rss_bytes"]))


def test_mappings_are_their_makers():
    """What an allocator maps is mapped_anon, by the name of its module"""
    driver = programs.Redis()
    reason = driver.why_not()
    if reason:
        raise chain.Skip(reason)
    programs.run_under_load(driver, min(SECONDS, 1), check_mappings, n_marks=1)


if __name__ == "__main__":
    chain.main(globals())
