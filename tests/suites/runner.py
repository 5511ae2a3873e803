"""Runs one test in one way, and says how it ended.

The ways are `bare`, and under the preload `watch` (residue run) and `exact`
(residue run --exact). The command, a fresh folder and the environment are the
same in each of them, and the user is never root, to whom no file is read-only:
root's tests are those of nobody. What a way found is appended to one file, a
line a test:

    NAME <tab> OUTCOME <tab> BIRTHS

so that a run that was ended goes on where it was. BIRTHS is what the recording
has of the test's allocations. Where it has no process the preload was not
there, and the outcome says so (`unrecorded`).
"""
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading

WAYS = ("bare", "watch", "exact")

NOT_SHARED = ("LD_PRELOAD", "RESIDUE_SOCKET", "LANGUAGE", "LANG", "MAKEFLAGS",
              "XDG_RUNTIME_DIR")
NOBODY = 65534


class Command:
    """What a test is: words, what is added to the environment."""

    def __init__(self, words, seconds=300, **environment):
        self.words = words
        self.seconds = seconds
        self.environment = environment


class Ended:
    def __init__(self, status, output):
        self.status = status  # None: it was ended, for it took too long
        self.output = output


def environment_with(more):
    clean = {name: value for name, value in os.environ.items()
             if name not in NOT_SHARED and not name.startswith("LC_")}
    clean.update(more)
    return clean


class Running:
    """The tests that run now. Each has a session of its own, which no Ctrl-C
    reaches: who ends us has to end them too."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sessions = set()
        self.has_ended = False

    def start(self, words, **options):
        with self.lock:
            process = subprocess.Popen(words, start_new_session=True,
                                       **options)
            self.sessions.add(process.pid)
            if self.has_ended:
                self._kill(process.pid)
        return process

    @staticmethod
    def _kill(session):
        try:
            os.killpg(session, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def finish(self, process):
        """It has ended or is to end, with all that it left in its group."""
        with self.lock:
            self._kill(process.pid)
            self.sessions.discard(process.pid)
        process.wait()

    def end(self):
        with self.lock:
            if self.sessions:
                self.has_ended = True
            for session in self.sessions:
                self._kill(session)


running = Running()


def run_bounded(words, folder, environment, seconds):
    """Output is what it wrote to both streams. Not through a pipe: whom the
    test leaves behind could hold that open."""
    with tempfile.TemporaryFile() as output:
        process = running.start(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        running.finish(process)
        output.seek(0)
        return Ended(status, output.read().decode("utf-8", "replace"))


def read_recording(path):
    """(processes, births of all of them); zeros where there is no recording."""
    try:
        connection = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
        try:
            processes, births = connection.execute(
                "SELECT count(*), sum(births) FROM process").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return 0, 0
    return processes, births or 0


def as_somebody(words):
    """The words, said by somebody who is not root."""
    if os.geteuid() != 0:
        return words
    return ["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY,
            "--clear-groups", "--inh-caps=-all", "--"] + words


def can_use(program):
    """Whether those of the tests' user can be given this program."""
    return subprocess.call(as_somebody(["test", "-x", program])) == 0


class Folder:
    """A fresh one for a test, with a short name: sockets are in it.

    Without `_`, which SQL's LIKE takes for any letter: SQLite tests less then.
    """

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="suites-")
        while "_" in self.path:
            os.rmdir(self.path)
            self.path = tempfile.mkdtemp(prefix="suites-")
        if os.geteuid() == 0:
            os.chown(self.path, NOBODY, NOBODY)
        return self.path

    def __exit__(self, *unused):
        shutil.rmtree(self.path, ignore_errors=True)


class Runner:
    """Runs tests beside one build of residue."""

    def __init__(self, build):
        self.residue = os.path.join(os.path.abspath(build), "report",
                                    "residue")

    def words(self, way, words, recording):
        if way == "bare":
            return words
        more = ["--exact"] if way == "exact" else []
        return [self.residue, "run", "-q", "-f"] + more + [
            "-o", recording, "--"] + words

    def run(self, suite, name, way):
        """(outcome, births, output)"""
        command = suite.command(name)
        with Folder() as own, Folder() as other:
            recording = os.path.join(other, "it.rec")
            environment = environment_with(dict(
                command.environment, TMPDIR=own, HOME=own,
                XDG_RUNTIME_DIR=other))
            ended = run_bounded(
                as_somebody(self.words(way, command.words, recording)), own,
                environment, command.seconds)
            processes, births = read_recording(recording)
        if ended.status is None:
            return "timeout", births, ended.output
        outcome = suite.outcome(ended)
        if way != "bare" and processes == 0 and outcome != "refused":
            outcome += " unrecorded"
        return outcome, births, ended.output


class Results:
    """What one way found, kept in a file."""

    def __init__(self, path):
        self.path = path
        self.outcomes = {}
        self.births = {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    if line.endswith("\n"):
                        name, outcome, births = line[:-1].split("\t")
                        self.outcomes[name] = outcome
                        self.births[name] = int(births)

    def add(self, name, outcome, births):
        self.outcomes[name] = outcome
        self.births[name] = births
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "a") as file:
            file.write("%s\t%s\t%d\n" % (name, outcome, births))

    def forget(self, names):
        """So that they are run again."""
        for name in names:
            self.outcomes.pop(name, None)
        if not os.path.exists(self.path):
            return
        fresh = self.path + ".new"
        with open(fresh, "w") as file:
            for name, outcome in self.outcomes.items():
                file.write("%s\t%s\t%d\n" % (name, outcome,
                                             self.births[name]))
        os.replace(fresh, self.path)
