"""What the integration tests have in common: the real chain, driven.

A test file defines functions whose names begin with `test_`, each documented by
one sentence, and ends with `chain.main(globals())`. The result is TAP, a point
a function; a function may return more points as [(passed, sentence), ...].

    python3 tests/integration/FILE.py BUILD-DIRECTORY [NAME ...]
"""
import contextlib
import functools
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "common"))

import debian  # noqa: E402

TIMEOUT = 60


class Skip(Exception):
    """This test cannot run here; the text says why."""


class Chain:
    """Where the three programs of one build are."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.residue = os.path.join(self.build, "report", "residue")
        self.residued = os.path.join(self.build, "collector", "residued")
        self.preload = os.path.join(self.build, "preload",
                                    "libresidue-preload.so")
        self.top = os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.abspath(__file__))))

    def target(self, name):
        """A compiled program of tests/targets."""
        return os.path.join(self.build, "tests", "targets", name)

    def source(self, name):
        """And the source of one."""
        return os.path.join(self.top, "tests", "targets", name)


chain = None  # set by main
folder = None  # a fresh directory for each test; removed afterwards


# ---- running ---------------------------------------------------------------

def clean_environment(**more):
    """What a user's shell would have, nothing of ours."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("LD_PRELOAD", "RESIDUE_SOCKET")}
    environment.update(more)
    return environment


def run(*command, **options):
    """Runs to the end; standard output and error are bytes."""
    options.setdefault("timeout", TIMEOUT)
    options.setdefault("cwd", folder)
    options.setdefault("env", clean_environment())
    return subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, **options)


def record(*command, **options):
    """`residue run -q -o REC` on the command; returns (result, recording)."""
    recording = options.pop("recording", os.path.join(folder, "it.rec"))
    result = run(chain.residue, "run", "-q", "-f", "-o", recording, "--",
                 *command, **options)
    return result, recording


def stats(recording, moment=None):
    """`residue stats --json`, parsed."""
    target = recording if moment is None else "%s@%s" % (recording, moment)
    result = run(chain.residue, "stats", "--json", target)
    if result.returncode != 0:
        raise AssertionError("residue stats: %s" % result.stderr.decode())
    return json.loads(result.stdout)


def rows(recording, sql):
    connection = sqlite3.connect(recording)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Live:
    """A program under `residue run` that is alive, and can be marked."""

    def __init__(self, *command, **options):
        """before=(CMD, ...) is put before `residue run`, flags=(...) behind."""
        self.before = options.pop("before", ())
        flags = options.pop("flags", ())
        self.recording = options.pop("recording",
                                     os.path.join(folder, "live.rec"))
        options.setdefault("env", clean_environment())
        options.setdefault("cwd", folder)
        self.environment = options["env"]
        self.error_path = os.path.join(folder, "live.err")
        with open(self.error_path, "wb") as error:
            self.process = subprocess.Popen(
                self.before + (chain.residue, "run", "-q", "-f", "-o",
                               self.recording) + flags + ("--",) + command,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=error, **options)

    def line(self):
        """The next line that the program prints."""
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError("the program ended: %s" % self.error())
        return text.decode().rstrip("\n")

    def error(self):
        with open(self.error_path, "rb") as error:
            return error.read().decode("utf-8", "replace")

    def mark(self, text, pid=None):
        """Labels the moment; returns when its census is in the recording."""
        target = self.recording if pid is None else str(pid)
        result = run(*self.before, chain.residue, "mark", target, text,
                     env=self.environment)
        if result.returncode != 0:
            raise AssertionError("residue mark: %s" % result.stderr.decode())

    def stats(self, moment):
        """The program's own row, which is there soon after its start."""
        until = time.monotonic() + 5
        processes = stats(self.recording, moment)["processes"]
        while not processes and time.monotonic() < until:
            time.sleep(0.02)
            processes = stats(self.recording, moment)["processes"]
        return processes[0]

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def end(self):
        """Closes its input, waits; returns the exit status."""
        self.process.stdin.close()
        try:
            self.process.stdout.read()
            return self.process.wait(TIMEOUT)
        finally:
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)


def slowness():
    """How many times longer than on an idle machine things take now."""
    began, spent = time.monotonic(), time.process_time()
    while time.process_time() - spent < 0.2:
        pass
    return max(1, (time.monotonic() - began) / 0.2)


def wait_until_quiet(pid):
    """Until the process sleeps and has used no CPU for a while."""
    deadline = time.monotonic() + TIMEOUT
    last = None
    while time.monotonic() < deadline:
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        now = (fields[0], fields[11], fields[12])
        if now == last and fields[0] == "S":
            return
        last = now
        time.sleep(0.05)
    raise AssertionError("process %d never became quiet" % pid)


def wait_for(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("%s did not happen" % what)


# ---- another user ----------------------------------------------------------

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
          "--inh-caps=-all", "--bounding-set=-all")


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root can become another user")


@contextlib.contextmanager
def for_everybody():
    """The environment of another user, in a folder where they may write, with
    programs that they may run wherever this build is."""
    global chain
    os.chmod(folder, 0o777)
    own = chain
    build = os.path.join(folder, "build")
    for path in (own.residue, own.residued, own.preload,
                 own.target("refuse_vm_readv")):
        copy = os.path.join(build, os.path.relpath(path, own.build))
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(path, copy)
    chain = Chain(build)
    try:
        yield clean_environment(HOME=folder, XDG_RUNTIME_DIR="", TMPDIR="")
    finally:
        chain = own


# ---- interpreters ----------------------------------------------------------

class Interpreter:
    def __init__(self, path, version, origin):
        self.path = path
        self.version = version
        self.is_pyenv = origin == "pyenv"
        self.is_foreign = origin == "Debian"  # of another suite, no symbols
        self.name = "%s (%s)" % (".".join(map(str, version)), origin)

    def is_at_least(self, *version):
        return self.version[:len(version)] >= version


def _version_of(path):
    try:
        output = subprocess.run(
            (path, "-c", "import sys; print(sys.version_info[:3]);"
             "print('free-threading' in sys.version)"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20,
            env=clean_environment(), check=True).stdout.decode()
    except (OSError, subprocess.SubprocessError):
        return None, False
    numbers, is_free = output.splitlines()[:2]
    numbers = re.findall(r"\d+", numbers)
    return (tuple(map(int, numbers)) if len(numbers) == 3 else None,
            is_free == "True")


def _pyenv_versions():
    roots = [os.environ.get("PYENV_ROOT")]
    pyenv = shutil.which("pyenv")
    if pyenv:
        roots.append(subprocess.run((pyenv, "root"), stdout=subprocess.PIPE,
                                    check=False).stdout.decode().strip())
    for root in filter(None, roots):
        for path in sorted(glob.glob(os.path.join(root, "versions", "*", "bin",
                                                  "python"))):
            yield path


def _system_versions():
    for directory in ("/usr/bin", "/usr/local/bin"):
        for path in sorted(glob.glob(os.path.join(directory, "python[23]*"))):
            if re.fullmatch(r"python[23](\.\d+)?", os.path.basename(path)):
                yield path


def _named_versions():
    """RESIDUE_PYTHONS=PATH[:PATH ...] names more."""
    return filter(None, os.environ.get("RESIDUE_PYTHONS", "").split(":"))


@functools.lru_cache(None)
def _all_builds():
    """(interpreters, those of them that are free-threaded)"""
    seen = {}
    free = []
    for origin, paths in (("pyenv", _pyenv_versions()),
                          ("system", _system_versions()),
                          ("named", _named_versions())):
        for path in paths:
            real = os.path.realpath(path)
            version, is_free = (None, False) if real in seen \
                else _version_of(real)
            if version:
                seen[real] = Interpreter(real, version, origin)
                free += [seen[real]] if is_free else []
    return sorted(seen.values(), key=lambda one: one.version), free


def interpreters():
    """Every CPython on this machine, oldest first, each once; but for builds
    that are free-threaded, of which there is only the native side to see."""
    builds, free = _all_builds()
    return [one for one in builds if one not in free]


def free_threaded():
    return _all_builds()[1]


def _debian_folder():
    return os.path.join(chain.build, "tests", "debian")


def fetch_foreign():
    """Unpacks what Debian's other suites have; returns what is missing."""
    return debian.fetch(_debian_folder())[1]


@functools.lru_cache(None)
def _foreign(paths):
    found = [(path, _version_of(path)[0]) for path in paths]
    return [Interpreter(path, version, "Debian") for path, version in found
            if version]


def every_interpreter():
    """Those of Debian's other suites, too, once a test has fetched them."""
    foreign = _foreign(tuple(debian.paths(_debian_folder())))
    return sorted(interpreters() + foreign, key=lambda one: one.version)


def collector_of(runner):
    """The pid of the residued that a `residue run` has started, or None."""
    with open("/proc/%d/task/%d/children" % (runner, runner)) as children:
        for pid in map(int, children.read().split()):
            with open("/proc/%d/comm" % pid) as comm:
                if comm.read().strip() == "residued":
                    return pid
    return None


def some_python():
    """One interpreter that every test machine has."""
    for interpreter in interpreters():
        if interpreter.is_at_least(3, 9) and not interpreter.is_pyenv:
            return interpreter
    return interpreters()[-1]


def on_every_interpreter(check, skip=lambda interpreter: None, of=None):
    """One point an interpreter, and one that none was left out unsaid.

    check(interpreter) raises or returns a sentence; skip(interpreter) returns a
    reason or None; of: every_interpreter(), if not those of the machine alone.
    """
    points = []
    n_run = n_skipped = 0
    all_of_them = interpreters() if of is None else of
    for interpreter in all_of_them:
        reason = skip(interpreter)
        if reason:
            n_skipped += 1
            points.append((True, "%s # SKIP %s" % (interpreter.name, reason)))
            continue
        n_run += 1
        try:
            fresh_folder()
            points.append((True, "%s: %s" % (interpreter.name,
                                             check(interpreter))))
        except Exception as error:
            print_comment(traceback.format_exc())
            points.append((False, "%s: %s" % (interpreter.name, error)))
    found = len(all_of_them)
    print("# interpreters found %d, run %d, skipped %d: %s" % (
        found, n_run, n_skipped,
        ", ".join(one.name for one in all_of_them)))
    points.append((found == n_run + n_skipped and n_run > 0,
                   "found %d, run %d, skipped for a reason %d" %
                   (found, n_run, n_skipped)))
    if shutil.which("pyenv"):
        pyenv = [one for one in interpreters() if one.is_pyenv]
        n_three = sum(one.is_at_least(3) for one in pyenv)
        n_two = sum(one.version[:2] == (2, 7) for one in pyenv)
        points.append((n_three >= 5 and n_two >= 1,
                       "pyenv has five 3.x and one 2.7 (%d and %d)" %
                       (n_three, n_two)))
    return points


def print_comment(text):
    """A traceback, as TAP has it."""
    print("\n".join("# " + line for line in text.splitlines()))


# ---- the runner ------------------------------------------------------------

def fresh_folder():
    global folder
    remove_folder()
    folder = tempfile.mkdtemp(prefix="residue-test-")
    os.chmod(folder, 0o755)


def remove_folder():
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _points_of(name, function):
    sentence = (function.__doc__ or name).strip().splitlines()[0]
    try:
        fresh_folder()
        points = function()
    except Skip as reason:
        return [(True, "%s # SKIP %s" % (sentence, reason))]
    except Exception as error:
        print_comment(traceback.format_exc())
        return [(False, "%s: %s" % (sentence, error))]
    if points is None:
        return [(True, sentence)]
    return [(passed, "%s: %s" % (sentence, detail))
            for passed, detail in points]


def main(module):
    global chain
    chain = Chain(sys.argv[1])
    wanted = sys.argv[2:]
    n = n_failed = 0
    for name, function in list(module.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        for passed, sentence in _points_of(name, function):
            n += 1
            n_failed += not passed
            print("%s %d - %s" % ("ok" if passed else "not ok", n,
                                  sentence.replace("\n", " ")))
            sys.stdout.flush()
    remove_folder()
    print("1..%d" % n)
    sys.exit(1 if n_failed or n == 0 else 0)


def same(what, ours, truth):
    """Equal, or an assertion that shows both."""
    if ours != truth:
        raise AssertionError("%s: ours %r, true %r" % (what, ours, truth))


# Used by tests that end processes in every way.
SIGNALS = {signal.SIGKILL: 137, signal.SIGTERM: 143, signal.SIGSEGV: 139}
