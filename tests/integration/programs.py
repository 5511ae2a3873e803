"""Real programs under load, as `residue run` starts them.

A driver starts one program, loads it for some seconds, leaves it quiet and
ends it. `run_under_load` marks it meanwhile, and lets somebody look at it once
it is quiet. A driver leaves nothing behind: what it makes is in the test's
folder, what it talks through is a socket in there or a port of the kernel's
choice.
"""
import contextlib
import glob
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import chain
from chain import Live, run, wait_for

# Programs that serve their input: a line is for how many seconds to work.
HARNESS = r"""
import sys, time
def serve(churn):
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in iter(sys.stdin.readline, ""):
        until = time.time() + float(line)
        while time.time() < until:
            churn()
        sys.stdout.write("done\n")
        sys.stdout.flush()
"""

IDLE = HARNESS + "serve(lambda: time.sleep(0.1))\n"

JSON = HARNESS + r"""
import json, random
kept = []
def churn():
    text = json.dumps([
        {"id": i, "name": "n%d" % i, "tags": [str(i), i * 0.5, None],
         "text": "x" * random.randrange(3000)} for i in range(300)])
    kept.append((json.loads(text), text[:random.randrange(len(text))]))
    if len(kept) > 60:
        del kept[random.randrange(2)::2]
serve(churn)
"""

NUMPY = HARNESS + r"""
import numpy, random
kept = []
def churn():
    n = random.choice((10, 100, 1000, 30000, 300000))
    one = numpy.random.rand(n)
    kept.append(numpy.sort(one) * 2 + numpy.fft.rfft(one).real.sum())
    matrix = numpy.random.rand(120, 120)
    kept.append(numpy.linalg.solve(matrix, matrix.T)[::3].copy())
    kept.append(numpy.array([str(i) for i in range(200)], dtype=object))
    if len(kept) > 150:
        del kept[random.randrange(2)::2]
serve(churn)
"""

SQLITE = HARNESS + r"""
import random, sqlite3
disk = sqlite3.connect("table.db")
memory = sqlite3.connect(":memory:")
for one in disk, memory:
    one.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name, body BLOB)")
    one.execute("CREATE INDEX by_name ON t (name)")
def churn():
    for one in disk, memory:
        with one:
            one.executemany(
                "INSERT INTO t (name, body) VALUES (?, ?)",
                [("n%d" % random.randrange(10 ** 6),
                  b"b" * random.randrange(900)) for _ in range(1000)])
            one.execute("DELETE FROM t WHERE id % 7 = 3 AND name < 'n3'")
        one.execute("SELECT a.name, count(*) FROM t a JOIN t b USING (name) "
                    "GROUP BY 1 ORDER BY 2 DESC LIMIT 9").fetchall()
    if memory.execute("SELECT count(*) FROM t").fetchone()[0] > 60000:
        memory.execute("DELETE FROM t WHERE id % 3")
serve(churn)
"""

FLASK = r"""
import sys, threading
import flask, werkzeug.serving
app = flask.Flask("load")
notes = {}
PAGE = "<ul>{% for n in notes %}<li>{{ n.title }}: {{ n.text }}</li>" \
       "{% endfor %}</ul>"
@app.post("/notes")
def add():
    note = flask.request.get_json()
    notes[len(notes)] = note
    if len(notes) > 5000:
        notes.clear()
    return flask.jsonify(n=len(notes), title=note["title"])
@app.get("/notes")
def show():
    latest = [notes.get(i, {"title": "-", "text": "-"})
              for i in range(len(notes) - 100, len(notes))]
    return flask.render_template_string(PAGE, notes=latest)
server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever).start()
sys.stdin.read()
server.shutdown()
"""

NODE = r"""
const kept = [];
function churn() {
    const text = JSON.stringify(Array.from({length: 300}, (_, i) => ({
        id: i, name: "n" + i, tags: [String(i), i / 2, null],
        text: "x".repeat(Math.floor(Math.random() * 3000)),
        bytes: Array.from(Buffer.alloc(i % 64, i))})));
    kept.push(JSON.parse(text), Buffer.from(text).subarray(0, 4000));
    if (kept.length > 80)
        kept.splice(0, 40);
}
function work(until) {
    churn();
    if (Date.now() < until)
        setImmediate(work, until);
    else
        console.log("done");
}
require("readline").createInterface({input: process.stdin}).on(
    "line", line => work(Date.now() + 1000 * Number(line)));
console.log("ready");
"""

BUSY_SECONDS = 1.7

# Busy for a while, with threads and a child, then says a sum.
BUSY = """
import os, threading, time
until = time.time() + %f
sums = []
def churn(seed):
    total = n = 0
    while n < 40 or time.time() < until:
        block = [bytearray((i * seed) %% 3000 + 1) for i in range(300)]
        big = bytearray(300000)
        if n < 40:
            total += sum(map(len, block))
        n += 1
    sums.append(total)
threads = [threading.Thread(target=churn, args=(7 + i,)) for i in range(3)]
for one in threads:
    one.start()
child = os.fork()
if child == 0:
    x = [str(i) for i in range(50000)]
    os._exit(4)
for one in threads:
    one.join()
print(sorted(sums), os.waitpid(child, 0)[1] >> 8)
raise SystemExit(7)
""" % BUSY_SECONDS


class Driver:
    """One program; a context that has it running, as self.live."""

    name = None

    def __init__(self):
        self.live = None
        self._resources = contextlib.ExitStack()

    def why_not(self):
        """Why it cannot run here, or None."""

    def start(self):
        """Sets self.live, and returns when it serves."""
        raise NotImplementedError

    def load(self, seconds):
        """Returns when it has worked for so long and is left alone."""
        raise NotImplementedError

    def stop(self):
        """Ends it; its exit status, which has to be 0."""
        return self.live.end()

    def is_over(self):
        """Whether it has ended by itself, which only some may."""
        return False

    def started(self, *command, **options):
        """The program under `residue run`, which will not outlive us."""
        self.live = Live(*command, **options)
        self._resources.callback(self._see_that_it_ends)
        return self.live

    def _see_that_it_ends(self):
        process = self.live.process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in process.stdin, process.stdout:
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *unused):
        self._resources.close()


class Served(Driver):
    """A program that works for as long as a line of its input says."""

    def __init__(self, name, *command):
        super().__init__()
        self.name = name
        self.command = command

    def start(self):
        chain.same("it says", self.started(*self.command).line(), "ready")

    def load(self, seconds):
        self.live.say(str(seconds))
        chain.same("it says", self.live.line(), "done")


class IdlePython(Served):
    def __init__(self, interpreter):
        super().__init__("idle python %s" % interpreter.name,
                         interpreter.path, "-c", IDLE)


class JsonPython(Served):
    def __init__(self, interpreter):
        super().__init__("JSON in python %s" % interpreter.name,
                         interpreter.path, "-c", JSON)


def python_with(module):
    """The system's Python that has the module, or None."""
    for one in reversed(chain.interpreters()):
        if not one.is_pyenv and one.is_at_least(3) and run(
                one.path, "-c", "import " + module).returncode == 0:
            return one.path
    return None


class WithModule(Served):
    """A system's Python and a module of Debian's."""

    def __init__(self, name, module, program):
        self.path = python_with(module)
        self.module = module
        super().__init__(name, self.path, "-c", program)

    def why_not(self):
        return None if self.path else "no system's Python has %s" % self.module


class Flask(WithModule):
    """A threaded server, four clients."""

    n_clients = 4

    def __init__(self):
        super().__init__("flask", "flask", FLASK)
        self.port = None

    def start(self):
        self.port = int(self.started(*self.command).line())

    def load(self, seconds):
        until = time.monotonic() + seconds
        failures = []

        def ask(number):
            try:
                self._ask(random.Random(number), until)
            except Exception as error:
                failures.append(error)
        clients = [threading.Thread(target=ask, args=(number,))
                   for number in range(self.n_clients)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        if failures:
            raise failures[0]

    def _ask(self, chance, until):
        while time.monotonic() < until:
            connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                    timeout=chain.TIMEOUT)
            for _ in range(10):
                self._answer(connection, "POST", '{"title": "%d", "text": "%s"}'
                             % (chance.randrange(1000),
                                "y" * chance.randrange(3000)))
            self._answer(connection, "GET", None)
            connection.close()

    @staticmethod
    def _answer(connection, method, body):
        connection.request(method, "/notes", body,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        chain.same("status of " + method, answer.status, 200)


class SqliteShell(Driver):
    """Debian's sqlite3, a table on disk."""

    name = "sqlite3 shell"

    def why_not(self):
        return None if shutil.which("sqlite3") else "no sqlite3"

    def start(self):
        self.started("sqlite3", "shell.db")
        self._do("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);"
                 "CREATE INDEX by_a ON t (a);")

    def _do(self, statements):
        self.live.say(statements + "\nSELECT 'done';")
        chain.same("it says", self.live.line(), "done")

    def load(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._do("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                     " FROM n WHERE i < 20000) INSERT INTO t (a, b)"
                     " SELECT random() % 100000, hex(randomblob(i % 300))"
                     " FROM n;"
                     "CREATE TEMP TABLE s AS SELECT a, max(b) FROM t"
                     " GROUP BY a ORDER BY 2;"
                     "DROP TABLE s; DELETE FROM t WHERE id % 3 = 0;")


class Redis(Driver):
    """redis-server on jemalloc, keys of many sizes set, read and deleted."""

    name = "redis-server"
    n_keys = 100000

    def __init__(self):
        super().__init__()
        self.socket = None

    @staticmethod
    def program():
        """Debian's server and checker are one program, told apart by name."""
        return shutil.which("redis-server") or shutil.which("redis-check-rdb")

    def why_not(self):
        return None if self.program() else "no redis-server"

    def start(self):
        server = os.path.join(chain.folder, "redis-server")
        os.symlink(os.path.realpath(self.program()), server)
        path = os.path.join(chain.folder, "redis")
        self.started(server, "--port", "0", "--unixsocket", path, "--save", "",
                     "--appendonly", "no", "--loglevel", "warning")
        self.socket = socket.socket(socket.AF_UNIX)
        self._resources.callback(self.socket.close)
        self.socket.settimeout(chain.TIMEOUT)
        # The file is there before anybody listens.
        wait_for(lambda: self.socket.connect_ex(path) == 0, "redis' socket")
        chain.same("PING", self.ask([(b"PING",)]), [b"+PONG"])

    def ask(self, commands):
        """The first line of each answer; no command here has another."""
        text = b"".join(
            b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
            for words in commands)
        sender = threading.Thread(target=self.socket.sendall, args=(text,))
        sender.start()
        answers = b""
        while answers.count(b"\r\n") < len(commands):
            more = self.socket.recv(1 << 16)
            if not more:
                raise AssertionError("redis hung up")
            answers += more
        sender.join()
        return answers.split(b"\r\n")[:-1]

    def load(self, seconds):
        chance = random.Random(5)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            commands = []
            for _ in range(2000):
                key = b"%d" % chance.randrange(self.n_keys)
                commands += [
                    (b"SET", b"key:" + key, b"v" * chance.randrange(1500)),
                    (b"DEL", b"key:%d" % chance.randrange(self.n_keys)),
                    (b"HSET", b"hash:" + key[:2], key, key * 9),
                    (b"RPUSH", b"list:" + key[:3], key)]
            for answer in self.ask(commands):
                if answer[:1] not in (b"+", b":"):
                    raise AssertionError("redis answers %r" % answer)

    def stop(self):
        self.live.process.send_signal(signal.SIGTERM)
        return self.live.end()


class Compiler(Driver):
    """gcc on big files; cc1 is its child, one after the other."""

    name = "gcc (cc1)"
    seconds_a_file = 4.5  # about
    n_functions = 120

    def __init__(self):
        super().__init__()
        self.is_ended = False

    def why_not(self):
        return None if shutil.which("gcc") else "no gcc"

    def source(self, number):
        """A C file that nobody has written: arithmetic, loops, a table."""
        chance = random.Random(number)
        yield "#include <stdio.h>\n#include <string.h>\n"
        for i in range(self.n_functions):
            yield ("struct s%d { int a[%d]; double d; char *n; };\n"
                   "static int f%d(struct s%d *s, int n)\n{\n    int r = n;\n"
                   % (i, chance.randrange(1, 50), i, i))
            for _ in range(chance.randrange(5, 30)):
                yield ("    for (int i = 0; i < n %% %d; i++)\n"
                       "        r += s->a[i %% %d] * %d ^ (r >> %d);\n"
                       "    if (r > %d)\n        s->d += strlen(s->n) / %d.0;\n"
                       % (chance.randrange(2, 99), chance.randrange(1, 9),
                          chance.randrange(99), chance.randrange(1, 9),
                          chance.randrange(9999), chance.randrange(1, 99)))
            yield '    printf("%%d in %d\\n", r);\n    return r;\n}\n' % i
        yield "int (*const table[])(void *, int) = {\n"
        for i in range(self.n_functions):
            yield "    (int (*)(void *, int))f%d,\n" % i
        yield "};\n"

    def start(self):
        """With the load: only then is it known for how long."""

    def load(self, seconds):
        names = ["file%d.c" % number for number in
                 range(max(1, round(seconds / self.seconds_a_file)))]
        for number, name in enumerate(names):
            with open(os.path.join(chain.folder, name), "w") as out:
                out.writelines(self.source(number))
        self.started("gcc", "-O1", "-w", "-c", *names)
        status = self.live.process.wait(chain.TIMEOUT + 5 * seconds)
        self.is_ended = True
        chain.same("gcc's exit status", status, 0)

    def is_over(self):
        return self.is_ended

    def stop(self):
        return self.live.end()


class Postgres(Driver):
    """A server with the clients of pgbench, sorting and updating."""

    name = "postgres"
    n_clients = 4
    sorting = ("SELECT count(*) FROM (SELECT repeat('x', i % 100) || i AS t "
               "FROM generate_series(1, 20000) i ORDER BY t DESC) s;\n")

    def __init__(self):
        super().__init__()
        self.before = ()
        self.environment = chain.clean_environment()

    @staticmethod
    def program(name):
        """Debian's are not on the path; its pgbench there is a wrapper."""
        folders = glob.glob("/usr/lib/postgresql/*/bin")
        folders.sort(key=lambda path: [int(n) for n in
                                       re.findall(r"\d+", path)])
        return shutil.which(name, path=os.pathsep.join(
            folders[::-1] + [os.environ.get("PATH", "")]))

    def why_not(self):
        for name in "initdb", "postgres", "pgbench", "pg_isready":
            if self.program(name) is None:
                return "no " + name
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            return "no setpriv, and postgres refuses root"
        return None

    def tool(self, name, *arguments, seconds=0):
        result = run(*self.before, self.program(name), *arguments,
                     env=self.environment, timeout=chain.TIMEOUT + seconds)
        if result.returncode != 0:
            raise AssertionError("%s: %s" % (name, result.stderr.decode()))

    def start(self):
        if os.geteuid() == 0:
            self.before = chain.NOBODY
            self.environment = self._resources.enter_context(
                chain.for_everybody())
        data = os.path.join(chain.folder, "data")
        self.tool("initdb", "-D", data, "-U", "postgres", "--no-sync",
                  "--no-locale", "--encoding=UTF8", "--auth=trust")
        self.started(self.program("postgres"), "-D", data, "-k", chain.folder,
                     "-c", "listen_addresses=", "-c", "fsync=off",
                     "-c", "shared_buffers=32MB", "-c", "autovacuum_naptime=1",
                     before=self.before, env=self.environment)
        ready = (self.program("pg_isready"), "-q", "-h", chain.folder)
        wait_for(lambda: run(*ready).returncode == 0, "a server that is ready")
        self.bench("-i", "-q", "-s", "1")
        with open(os.path.join(chain.folder, "sort.sql"), "w") as out:
            out.write(self.sorting)

    def bench(self, *arguments, seconds=0):
        self.tool("pgbench", "-h", chain.folder, "-U", "postgres", *arguments,
                  "postgres", seconds=seconds)

    def load(self, seconds):
        self.bench("-n", "-c", str(self.n_clients), "-T",
                   str(max(1, round(seconds))), "-b", "tpcb-like@4",
                   "-f", os.path.join(chain.folder, "sort.sql") + "@1",
                   seconds=seconds)

    def stop(self):
        self.live.process.send_signal(signal.SIGINT)  # a fast shutdown
        return self.live.end()


class Node(Served):
    def __init__(self):
        super().__init__("node", "node", "-e", NODE)

    def why_not(self):
        return None if shutil.which("node") else "no node"


def drivers():
    """Every one but the interpreters'."""
    return [
        Flask(),
        WithModule("numpy", "numpy", NUMPY),
        WithModule("sqlite3 module", "sqlite3", SQLITE),
        SqliteShell(),
        Redis(),
        Compiler(),
        Postgres(),
        Node(),
    ]


# ---- a run -----------------------------------------------------------------

def run_under_load(driver, seconds, look=None, n_marks=3, meanwhile=None):
    """Returns the recording. meanwhile(driver) is called while it works,
    look(driver) when the load is over."""
    failures = []

    def load():
        try:
            driver.load(seconds)
        except Exception as error:
            failures.append(error)
    with driver:
        loader = threading.Thread(target=load)
        loader.start()
        try:
            n_marked = mark_under_load(driver, loader, seconds, n_marks)
            if meanwhile:
                meanwhile(driver)
        finally:
            loader.join()
        if failures:
            raise failures[0]
        if n_marks and n_marked == 0:
            raise AssertionError("it was over before a mark")
        if look:
            look(driver)
        chain.same("exit status", driver.stop(), 0)
        return driver.live.recording


def mark_under_load(driver, loader, seconds, n_marks):
    """Marks while it works; how many there were."""
    n_marked = 0
    for number in range(n_marks):
        loader.join(seconds / (n_marks + 1))
        if not loader.is_alive():
            break
        try:
            driver.live.mark("under load %d" % number)
        except AssertionError:
            if not driver.is_over():
                raise
            break
        n_marked += 1
    return n_marked


def quiet_pids(recording):
    """Its processes that are alive."""
    return [pid for pid, in chain.rows(
        recording, "SELECT pid FROM process WHERE end_us IS NULL ORDER BY id")
            if os.path.exists("/proc/%d" % pid)]
