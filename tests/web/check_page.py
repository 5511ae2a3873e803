"""The page, end to end: a real program recorded, its page written by
`residue report`, loaded in a headless browser, compared with `residue stats`.

    python3 tests/web/check_page.py RESIDUE

Prints TAP. Exits 1 if a point failed, 77 where no Chromium is found.
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile

import browser

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
DEMO = os.path.join(TOP, "tests", "scenarios", "floats-that-pin", "program.py")
MOST_BYTES = 300000
PYTHON = os.path.realpath(sys.executable)
SECRET = "--password=not-for-others"

HOSTILE = """
import gc
kept = []
for name in ("</script><img src=x onerror=alert(1)>",
             "</script><script>document.title='owned'</script>",
             "<b>bold</b> & {{script}} `code`"):
    made = type(name, (object,), {"__slots__": ("a",)})
    kept += [made() for _ in range(100000)][::1000]
gc.collect()
"""


# ---- TAP -------------------------------------------------------------------

class Points:
    def __init__(self):
        self.n_points = 0
        self.n_failed = 0

    def check(self, passed, sentence, why=""):
        self.n_points += 1
        self.n_failed += not passed
        print("%s %d - %s" % ("ok" if passed else "not ok", self.n_points,
                              sentence), flush=True)
        if not passed and why != "":
            print("".join("# %s\n" % line for line in
                          str(why).splitlines()), end="", flush=True)

    def equal(self, left, right, sentence):
        self.check(left == right, sentence,
                   "the page: %r\nstats:    %r" % (left, right))

    @contextlib.contextmanager
    def group(self, name):
        """What raises in it is one point that failed, not the end."""
        try:
            yield
        except Exception as error:  # pylint: disable=broad-except
            self.check(False, name + " can be checked", repr(error))


points = Points()


# ---- the chain -------------------------------------------------------------

class Chain:
    def __init__(self, residue, folder):
        self.residue = residue
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def call(self, *arguments, **options):
        return subprocess.run([self.residue, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=60, **options)

    def record(self, name, *command):
        recording = self.path(name + ".rec")
        self.call("run", "-q", "-f", "-o", recording, "--", *command,
                  check=True)
        return recording

    def page(self, target, name, *options):
        page = self.path(name + ".html")
        self.call("report", "-f", "-o", page, *options, target, check=True)
        return page

    def stats(self, target):
        return json.loads(self.call("stats", "--json", target,
                                    check=True).stdout)


# ---- the file --------------------------------------------------------------

def check_file(page):
    with open(page, encoding="utf-8") as file:
        text = file.read()
    # What the browser takes for the page's own; the data are only read.
    own = re.sub(r'(?s)<script type="application/json".*?</script>', "", text)
    points.check(len(text) < MOST_BYTES, "a small recording's page is small",
                 len(text))
    points.check("Content-Security-Policy" in own and
                 "default-src 'none'" in own, "its policy forbids requests")
    targets = re.findall(r"""https?:|\b(?:src|srcset|action)=|@import|"""
                         r"""url\((?!["']?data:)|href="(?!#)""", own)
    points.check(not targets, "nothing in it asks for anything", targets)
    points.check(os.stat(page).st_mode & 0o777 == 0o600,
                 "only its owner may read it")


# ---- the numbers -----------------------------------------------------------

def plain(text):
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def check_verdict(page, stats):
    items = page.id("find").all("li")
    findings = stats["verdict"]
    points.equal([item.first("p", **{"class": "st"}).text() for item in items],
                 [finding["sentence"] for finding in findings],
                 "the findings' sentences are those of `why`")
    points.equal([item.first("p", **{"class": "ac"}).text() for item in items],
                 [plain(finding["action"]).replace("`", "")
                  for finding in findings],
                 "their advice is")
    points.equal([int(item.first("data").attributes["value"])
                  for item in items],
                 [finding["bytes"] for finding in findings],
                 "their bytes are")
    for finding, item in zip(findings, items):
        points.check(finding["evidence"] in item.text(),
                     "the evidence of %s is there" % finding["id"])


def check_ledger(page, process):
    known = {cause: n for cause, n in process["ledger"].items()
             if n is not None}
    rows = page.table("The ledger as a table")
    column = [head for head in rows[0] if head.startswith("end,")][0]
    points.equal({row["cause"]: row[column] for row in rows}, known,
                 "the ledger is that of stats, unknown causes left out")
    unknown = [cause for cause, n in process["ledger"].items() if n is None]
    told = page.id("now").text()
    points.check(all(cause in told for cause in unknown),
                 "causes that are not known are named", told)
    points.equal(sum(row[column] for row in rows), process["rss_bytes"],
                 "the causes sum to RSS")


def check_censuses(page):
    rows = page.table("Every census")
    wrong = [row for row in rows if row["RSS"] != sum(
        value or 0 for head, value in row.items()
        if head not in ("at", "taken for", "RSS"))]
    points.check(rows and not wrong,
                 "the layers sum to RSS at each of %d censuses" % len(rows),
                 wrong)


def check_tables(page, process):
    points.equal(
        {row["class"]: (row["pools"], row["used"], row["holes"],
                        row["in holes"])
         for row in page.table("Size classes")},
        {row["size"]: (row["pools"], row["used"], row["free"],
                       row["free"] * row["size"])
         for row in process["classes"]},
        "the size classes are those of stats")
    points.equal(
        {row["type"]: (row["objects"], row["bytes"], row["exclusive"],
                       row["split"], row["holds"])
         for row in page.table("Types")},
        {row["name"]: (row["count"], row["bytes"], row["held_exclusive_bytes"],
                       row["held_split_bytes"], row["held_exclusive_bytes"] +
                       row["held_split_bytes"])
         for row in process["types"]},
        "the types are")
    points.equal(
        [(row["generation"], row["collections"], row["collected"],
          row["uncollectable"], row["paused"], row["longest"])
         for row in page.table("Collections by generation")],
        [(row["generation"], row["collections"], row["collected"],
          row["uncollectable"], row["pause_us_total"], row["pause_us_max"])
         for row in process["gc"]],
        "the collections are")


HEAPS = ("resident_bytes", "chunks", "live_bytes", "cached_bytes",
         "page_pinned_bytes", "trimmable_bytes", "trim_gain_bytes")


def check_native(page, process):
    heads = ("resident", "blocks in use", "bytes in use", "cached",
             "free, beside", "free pages", "trim gives")
    points.equal(
        sorted(tuple(row[head] for head in heads)
               for row in page.table("Heaps of malloc")),
        sorted(tuple(heap[key] for key in HEAPS) for heap in process["heaps"]),
        "malloc's heaps are those of stats")
    if process["mappings"]:
        points.equal(
            [(row["made by"], row["mappings"], row["bytes"], row["resident"])
             for row in page.table("Mappings")],
            [(one["module"], one["count"], one["bytes"],
              one["resident_bytes"]) for one in process["mappings"]],
            "the mappings are")


def check_never_returned(page, process):
    lists = process["never_returned"]["free_lists"]
    points.equal(
        sorted((row["what"], row["how many"], row["kept"])
               for row in page.table("Never returned")),
        sorted(("dead " + one["name"], one["count"], one["bytes"])
               for one in lists if one["count"]),
        "what the interpreter never returns is")
    told = page.id("now").text()
    points.check(process["cgroup"] is None or
                 process["cgroup"]["current"] is None or
                 "Its cgroup uses" in told, "its cgroup has a line", told)


def check_arenas(page, process):
    shown = {}
    for fact in page.id("arenas").first("dl").all("div"):
        numbers = [int(data.attributes["value"]) for data in fact.all("data")]
        shown[fact.first("dt").text()] = numbers
    arenas = process["arenas"]
    points.equal(shown, {
        "arenas": [arenas["count"]],
        "resident": [arenas["resident_bytes"]],
        "live": [arenas["live_bytes"]],
        "held": [arenas["held_bytes"]],
        "pinned": [arenas["pinned"], arenas["pinned_held_bytes"]],
        "empty": [arenas["empty"]],
    }, "the arenas are")


def check_processes(page, stats):
    points.equal(
        [(row["pid"], row["VmHWM"], row["RSS at end"])
         for row in page.table("Processes")],
        [(str(process["pid"]), process["vm_hwm_bytes"],
          "" if process["rss_bytes"] is None else process["rss_bytes"])
         for process in stats["processes"]],
        "all processes are there")


def check_demo(chain):
    recording = chain.record("demo", PYTHON, DEMO, SECRET)
    path = chain.page(recording, "demo")
    stats = chain.stats(recording)
    check_file(path)
    page = browser.Page(path, "#tables=open")
    points.equal(page.complaints, [], "the browser complains of nothing")
    points.check(page.id("say").text().startswith("RSS is "),
                 "it begins with RSS", page.id("say").text())
    process = stats["processes"][0]
    with points.group("the verdict"):
        check_verdict(page, stats)
    with points.group("the ledger"):
        check_ledger(page, process)
        check_censuses(page)
    with points.group("the tables"):
        check_tables(page, process)
        check_arenas(page, process)
        check_native(page, process)
        check_never_returned(page, process)
        check_processes(page, stats)
    return recording


# ---- state, names, files ---------------------------------------------------

def check_state(chain, recording):
    path = chain.page(recording, "state")
    page = browser.Page(path, "#theme=dark&iso=pools&u=MB")
    root = page.root.first("html")
    points.equal(root.attributes.get("data-theme"), "dark",
                 "the address chooses the theme")
    points.check("MB" in page.id("say").text() and
                 "MiB" not in page.id("say").text(), "and the unit")
    off = [label for label in page.id("ledger").all("button")
           if " off" in label.attributes.get("class", "")]
    points.check(len(off) > 2, "and the layer that stands alone", len(off))


def check_hostile(chain):
    program = chain.path("hostile.py")
    with open(program, "w", encoding="utf-8") as file:
        file.write(HOSTILE)
    recording = chain.record("hostile", PYTHON, program)
    page = browser.Page(chain.page(recording, "hostile"), "#tables=open")
    points.equal(page.complaints, [], "hostile names bring no complaint")
    bold = [element.text() for element in page.root.all("b")]
    points.check(not page.root.all("img") and "bold" not in bold and
                 len(page.root.all("script")) == 2, "and no element", bold)
    title = page.root.first("title").text()
    points.check(title.startswith("residue"), "none is executed", title)
    types = [row["type"] for row in page.table("Types")]
    for name in ("</script><img src=x onerror=alert(1)>",
                 "<b>bold</b> & {{script}} `code`"):
        points.check(name in types, "%s is shown as it is" % name)


def check_names(chain, recording):
    with open(chain.page(recording, "plain"), encoding="utf-8") as file:
        text = file.read()
    points.check(SECRET not in text and os.path.dirname(PYTHON) not in text,
                 "arguments and directories of the program are left out")
    page = browser.Page(chain.page(recording, "named", "--names"))
    points.check(SECRET in page.id("what").text(), "--names shows them",
                 page.id("what").text())


def check_files(chain, recording):
    path = chain.page(recording, "once")
    before = os.stat(path).st_mtime_ns
    refused = chain.call("report", "-o", path, recording)
    points.check(refused.returncode == 2 and "-f" in refused.stderr and
                 os.stat(path).st_mtime_ns == before,
                 "a page that exists is not replaced without -f",
                 refused.stderr)
    refused = chain.call("report", "-f", "-o", "/dev/null", recording)
    points.check(refused.returncode != 0 and not os.path.isfile("/dev/null"),
                 "a device is not replaced at all", refused.stderr)
    refused = chain.call("report", "-f", "-o",
                         chain.path("no/such/folder.html"), recording)
    points.check(refused.returncode != 0 and "no/such" in refused.stderr,
                 "a page that cannot be written is told", refused.stderr)
    left = [name for name in os.listdir(chain.folder)
            if not name.endswith((".rec", ".html", ".py"))]
    points.equal(left, [], "nothing is left beside the pages")


def check_others(chain):
    """Without Python, with several processes, at another moment."""
    recording = chain.record("pipe", "sh", "-c",
                             "seq 100000 | sort -r | tail -n 1 && sleep 0.3")
    page = browser.Page(chain.page(recording, "pipe"), "#tables=open")
    points.equal(page.complaints, [], "a page without Python has no complaint")
    check_processes(page, chain.stats(recording))
    check_native(page, next(process for process in
                            chain.stats(recording)["processes"]
                            if str(process["pid"]) in page.id("what").text()))
    points.check("hidden" in page.id("s3").attributes and
                 "hidden" in page.id("s5").attributes,
                 "it has no arenas and no types")
    other = chain.stats(recording)["processes"][-1]
    page = browser.Page(chain.page(recording, "pipe"), "#p=%d" % other["id"])
    points.check("pid %d" % other["pid"] in page.id("what").text(),
                 "another process can be chosen", page.id("what").text())
    page = browser.Page(chain.page(recording + "@start", "start"))
    points.check("At start" in page.id("sub").text(),
                 "REC@MOMENT is the page of that moment",
                 page.id("sub").text())


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_page.py RESIDUE")
    if browser.find() is None:
        print("1..0 # SKIP no Chromium: install chromium-headless-shell")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(os.path.abspath(sys.argv[1]), folder)
        recording = check_demo(chain)
        for check in (check_state, check_names, check_files):
            with points.group(check.__name__):
                check(chain, recording)
        for check in (check_hostile, check_others):
            with points.group(check.__name__):
                check(chain)
    print("1..%d" % points.n_points)
    sys.exit(points.n_failed != 0)


if __name__ == "__main__":
    main()
