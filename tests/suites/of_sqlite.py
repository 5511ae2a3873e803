"""SQLite's own tests, a file of them at a time, in its testfixture.

The files are those of the suite that SQLite calls veryquick, and besides them
those that start threads. An outcome has the number of tests
in it, and of the errors among them: `pass 123`, `fail 2/123`.
"""
import glob
import os
import re

from packages import Failure, output_of
from runner import Command

RESULT = re.compile(r"^(\d+) errors out of (\d+) tests", re.MULTILINE)

OPTIONS = ("--enable-fts3", "--enable-fts4", "--enable-fts5", "--enable-rtree",
           "--enable-session", "--enable-threadsafe", "--disable-editline",
           "--disable-readline")

# Not in veryquick: they start threads.
MORE = ("thread001", "thread002", "thread003", "thread004", "thread005",
        "mutex2", "notify2")

# Prints the files of veryquick: where permutations.test is asked for nothing
# it has its list, and ends.
ASK = """
set argv0 [lindex $argv 0]
set argv [list]
rename exit really_exit
proc exit {args} {
  foreach file [dict get $::testspec(veryquick) -files] { puts "FILE $file" }
  really_exit 0
}
source $argv0
"""


class Sqlite:
    name = "sqlite"
    is_parallel = True

    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "source")
        self.programs = os.path.join(folder, "programs")
        self.fixture = os.path.join(self.programs, "testfixture")

    def fetch(self, archive):
        return archive.unpack("sqlite3", self.source)

    def build(self, unused_names):
        os.makedirs(self.programs, exist_ok=True)
        tcl = os.path.dirname(sorted(glob.glob(
            "/usr/lib/*/tcl8.*/tclConfig.sh"))[-1])
        if not os.path.exists(os.path.join(self.programs, "Makefile")):
            output_of(
                [os.path.join(self.source, "configure"), "--with-tcl=" + tcl,
                 "CFLAGS=-O2 -w"] + list(OPTIONS), cwd=self.programs)
        output_of(["make", "testfixture", "sqlite3"],
                         cwd=self.programs)
        return []

    # ---- running -----------------------------------------------------------

    def all_names(self):
        script = os.path.join(self.folder, "ask.tcl")
        with open(script, "w") as file:
            file.write(ASK)
        said = output_of(
            [self.fixture, script,
             os.path.join(self.source, "test", "permutations.test")],
            cwd=self.folder)
        files = re.findall(r"^FILE (.*)", said, re.MULTILINE)
        names = {os.path.basename(one)[:-len(".test")] for one in files}
        return sorted(names | set(MORE))

    def _path(self, name):
        for pattern in ("test", "ext/*", "ext/*/test"):
            found = glob.glob(os.path.join(self.source, pattern,
                                           name + ".test"))
            if found:
                return found[0]
        raise Failure("sqlite has no %s.test" % name)

    def command(self, name):
        return Command([self.fixture, self._path(name)], seconds=900)

    @staticmethod
    def outcome(ended):
        found = RESULT.search(ended.output)
        if found is None:
            return "fail" if ended.output or ended.status else "unsupported"
        n_errors, n_tests = map(int, found.groups())
        if n_errors == 0 and ended.status == 0:
            return "pass %d" % n_tests
        return "fail %d/%d" % (n_errors, n_tests)
