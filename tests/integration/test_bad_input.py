"""Bad input: one clear line, the right exit code, nothing half-written."""
import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import unicodedata

import chain
from chain import Live, record, run, same

RECORDED = None


def residue(*arguments, **options):
    return run(chain.chain.residue, *arguments, **options)


def one_line(result, status, *words):
    """One line on standard error, of the right status, that says the words."""
    error = result.stderr.decode("utf-8", "replace")
    same("exit status (%s)" % error, result.returncode, status)
    same("standard output", result.stdout, b"")
    lines = error.splitlines()
    if len(lines) != 1:
        raise AssertionError("not one line: %r" % error)
    for word in words:
        if word not in error:
            raise AssertionError("%r is not in %r" % (word, error))


def usage(result):
    same("exit status", result.returncode, 2)
    if b"usage: residue" not in result.stderr:
        raise AssertionError("no usage: %r" % result.stderr)


# ---- the command line ------------------------------------------------------

def test_verbs():
    """An unknown verb, no verb, wrong arguments"""
    one_line(residue("whyy"), 2, "whyy", "did you mean 'why'")
    one_line(residue("xyz"), 2, "xyz", "--help")
    usage(residue())
    for verb in ("why", "stats", "diff", "report", "query", "mark"):
        usage(residue(verb))
        usage(residue(verb, "--no-such-option", "x"))
    usage(residue("run"))
    for verb in ("why", "stats", "diff", "report", "query", "mark", "run",
                 "doctor"):
        result = residue(verb, "--help")
        same("status of %s --help" % verb, result.returncode, 0)
        if b"usage: residue " + verb.encode() not in result.stdout:
            raise AssertionError("no help for %s" % verb)


def test_commands():
    """A command that is missing, or may not be executed"""
    one_line(residue("run", "no-such-program"), 127, "no-such-program")
    one_line(residue("run", "/no/such/program"), 127, "/no/such/program")
    one_line(residue("run", ""), 127)
    plain = os.path.join(chain.folder, "plain")
    open(plain, "w").close()
    one_line(residue("run", plain), 126, plain)
    one_line(residue("run", chain.folder), 126, chain.folder)
    same("files left behind", sorted(os.listdir(chain.folder)), ["plain"])


# ---- programs that no preload can enter ------------------------------------

SOURCE = "int main(void) { return 0; }\n"


def compiled(name, *options):
    path = os.path.join(chain.folder, name)
    result = run("gcc", "-x", "c", "-", "-o", path, *options,
                 input=SOURCE.encode())
    if result.returncode != 0:
        raise chain.Skip("gcc cannot build it: %s" %
                         result.stderr.decode().splitlines()[0])
    return path


def patched(name, offset, data):
    """A dynamically linked program with some bytes changed."""
    path = compiled(name)
    with open(path, "r+b") as program:
        program.seek(offset)
        program.write(data)
    return path


def with_interpreter(name, linker):
    """A program that asks for another dynamic linker, as musl's do."""
    path = compiled(name)
    with open(path, "r+b") as program:
        content = program.read()
        at = content.index(b"/lib64/ld-linux-x86-64.so.2\0")
        program.seek(at)
        program.write(linker.ljust(28, b"\0"))
    return path


def test_static():
    """A static program is refused, and not run"""
    one_line(residue("run", compiled("static", "-static")), 125,
             "statically linked", "nothing was run")


def test_setuid():
    """A setuid program is refused, and not run"""
    path = compiled("privileged")
    os.chmod(path, 0o4755)
    one_line(residue("run", path), 125, "setuid", "nothing was run")


def test_musl():
    """A program for musl is refused, and not run"""
    path = with_interpreter("musl", b"/lib/ld-musl-x86_64.so.1")
    one_line(residue("run", path), 125, "musl", "nothing was run")


def test_32_bit():
    """A 32-bit program is refused, and not run"""
    one_line(residue("run", patched("small", 4, b"\x01")), 125, "64-bit",
             "nothing was run")


def test_a_child_that_no_preload_can_enter():
    """A traced program may start such programs, and notices nothing"""
    static = compiled("static", "-static")
    for command in (("sh", "-c", "'%s'; echo $?" % static),
                    ("env", static)):
        bare = run(*command)
        ours, _ = record(*command)
        same("result", (ours.returncode, ours.stdout, ours.stderr),
             (bare.returncode, bare.stdout, bare.stderr))


# ---- recordings ------------------------------------------------------------

def recorded():
    """A small recording, made once."""
    global RECORDED
    if RECORDED is None:
        result, path = record(chain.some_python().path, "-c",
                              "x = [[i] for i in range(100000)]")
        same("exit status", result.returncode, 0)
        with open(path, "rb") as recording:
            RECORDED = recording.read()
    path = os.path.join(chain.folder, "good.rec")
    with open(path, "wb") as recording:
        recording.write(RECORDED)
    return path


READERS = (("why",), ("stats",), ("stats", "--json"), ("why", "--json"),
           ("diff", None, None), ("report", "-o", "page.html"),
           ("query", None, "SELECT * FROM v_ledger"))


def read(reader, path):
    arguments = [path if word is None else word for word in reader]
    if None not in reader:
        arguments.append(path)
    return residue(*arguments)


def written(name, content):
    path = os.path.join(chain.folder, name)
    with open(path, "wb") as out:
        out.write(content)
    return path


def test_what_is_no_recording():
    """A file that is no recording is told from one"""
    other = os.path.join(chain.folder, "other.db")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE x (y)")
    connection.commit()
    connection.close()
    newer = written("newer.rec", open(recorded(), "rb").read()[:60] +
                    struct.pack(">I", 99) + open(recorded(), "rb").read()[64:])
    for reader in READERS:
        one_line(read(reader, "missing.rec"), 3, "missing.rec")
        one_line(read(reader, chain.folder), 3, "not a file")
        one_line(read(reader, written("empty", b"")), 3, "not a recording")
        one_line(read(reader, written("text", b"hello\n" * 100)), 3,
                 "not a recording")
        one_line(read(reader, other), 3, "not a recording")
        one_line(read(reader, newer), 3, "version 99")
        one_line(read(reader, "999999999"), 3, "999999999")
        one_line(read(reader, recorded() + "@nonsense"), 3, "nonsense")
    if os.path.exists(os.path.join(chain.folder, "page.html")):
        raise AssertionError("a page was written of nothing")


def test_a_recording_cut_anywhere():
    """A recording that was cut is read, or refused in one line"""
    content = open(recorded(), "rb").read()
    n_read = n_refused = 0
    cuts = list(range(0, len(content), max(4096, len(content) // 40)))
    for cut in cuts + [1, 99, 100, 101, len(content) - 1]:
        path = written("cut.rec", content[:cut])
        for reader in READERS:
            result = read(reader, path)
            if result.returncode == 3:
                one_line(result, 3, "cut.rec")
                n_refused += 1
            else:
                same("exit status", result.returncode, 0)
                told = b"residue: the page is page.html"
                if reader[0] != "report" or told not in result.stderr:
                    same("standard error", result.stderr, b"")
                n_read += 1
            page = os.path.join(chain.folder, "page.html")
            if reader[0] == "report" and os.path.exists(page):
                same("status with a page", result.returncode, 0)
                os.unlink(page)
    if n_refused == 0:
        raise AssertionError("no cut was noticed")
    return [(True, "%d read, %d refused" % (n_read, n_refused))]


def test_a_name_that_a_terminal_would_obey():
    """A name with control characters is shown without them"""
    name = "\x1b[2J\x1b]0;mine\x07\x7f\u009b31m\r\x08"
    path = written("names.rec", open(recorded(), "rb").read())
    connection = sqlite3.connect(path)
    with connection:
        for statement in ("UPDATE type SET name = name || ?",
                          "UPDATE process SET exe = exe || ?, command = ?1",
                          "UPDATE mapping SET module = module || ?"):
            connection.execute(statement, (name,))
    connection.close()
    for reader in (("stats", path), ("why", path), ("diff", path, path),
                   ("query", path, "SELECT name FROM type")):
        result = run(chain.chain.residue, *reader)
        same("exit status", result.returncode, 0)
        tamed = result.stdout.decode() + result.stderr.decode()
        bad = {one for one in tamed if unicodedata.category(one) == "Cc"}
        same("control characters of " + reader[0], bad - {"\n", "\t"}, set())
    told = run(chain.chain.residue, "stats", "--json", path).stdout
    processes = json.loads(told)["processes"]
    same("the name in JSON", {one["name"].endswith(name)
                              for one in processes[0]["types"]}, {True})


def test_a_recording_with_flipped_bytes():
    """A recording with damaged bytes is read, or refused in one line"""
    content = bytearray(open(recorded(), "rb").read())
    for at in range(100, len(content), max(997, len(content) // 60)):
        damaged = bytearray(content)
        for i in range(at, min(at + 64, len(damaged))):
            damaged[i] ^= 0x5a
        path = written("bad.rec", bytes(damaged))
        for reader in READERS[:3]:
            result = read(reader, path)
            if result.returncode not in (0, 3):
                raise AssertionError("at %d: %d %r" % (at, result.returncode,
                                                       result.stderr))
            if result.returncode == 3:
                one_line(result, 3)


def test_a_read_only_directory():
    """A recording in a directory that cannot be written to is read"""
    path = recorded()
    closed = os.path.join(chain.folder, "closed")
    os.mkdir(closed)
    shutil.copy(path, os.path.join(closed, "r.rec"))
    os.chmod(closed, 0o555)
    result = residue("why", os.path.join(closed, "r.rec"))
    same("exit status", result.returncode, 0)


def test_an_existing_recording_is_kept():
    """An existing file is not overwritten without -f"""
    path = recorded()
    content = open(path, "rb").read()
    one_line(residue("run", "-o", path, "true"), 125, path, "-f")
    same("content", open(path, "rb").read(), content)
    same("status", residue("run", "-q", "-f", "-o", path, "true").returncode,
         0)
    if open(path, "rb").read() == content:
        raise AssertionError("it was not replaced")


def test_what_is_not_ours_is_never_overwritten():
    """Even with -f only what residue wrote is overwritten"""
    mine = written("mine.txt", b"precious")
    pipe = os.path.join(chain.folder, "pipe")
    os.mkfifo(pipe)
    touch = ("touch", os.path.join(chain.folder, "ran"))
    for path, why in ((mine, "not a recording"), (pipe, "no file"),
                      (chain.folder, "directory")):
        one_line(residue("run", "-f", "-o", path, *touch), 125, path, why)
    one_line(residue("run", "-f", "-o", os.path.join(chain.folder, "x.rec"),
                     "--report=" + mine, *touch), 125, mine, "not a page")
    path = recorded()
    for page in (path, mine):
        one_line(residue("report", "-f", "-o", page, path), 2, page,
                 "not a page")
    same("content", open(mine, "rb").read(), b"precious")
    if os.path.exists(touch[1]):
        raise AssertionError("the program was run")
    with Live(chain.some_python().path, "-c",
              "import os; os.write(1, b'x\\n'); os.read(0, 1)") as live:
        live.line()
        one_line(residue("run", "-f", "-o", live.recording, *touch), 125,
                 "being written")
        for text in ("peak", "01:10.5", "a@b"):
            one_line(residue("mark", live.recording, text), 2, text)
        live.end()


def test_where_nothing_can_be_written():
    """A recording that cannot be made is told before the program runs"""
    one_line(residue("run", "-o", "/no/such/place/x.rec", "touch", "ran"), 125,
             "/no/such/place/x.rec")
    if os.path.exists(os.path.join(chain.folder, "ran")):
        raise AssertionError("the program was run")


def test_queries():
    """A query that is wrong, or wants to write, is refused"""
    path = recorded()
    before = open(path, "rb").read()
    one_line(residue("query", path, "SELEC 1"), 2)
    one_line(residue("query", path, ""), 2)
    one_line(residue("query", path, "SELECT 1; SELECT 2"), 2, "one statement")
    one_line(residue("query", path + "@peak", "SELECT 1"), 2, "moment")
    for sql in ("DELETE FROM census", "DROP TABLE meta", "PRAGMA user_version=3",
                "ATTACH 'x.db' AS x", "CREATE TABLE t (a)"):
        one_line(residue("query", path, sql), 2, "SELECT")
    same("the file", open(path, "rb").read(), before)


def test_marks():
    """A mark needs a recording that runs"""
    one_line(residue("mark", recorded(), "x"), 1, "nobody writes")
    one_line(residue("mark", recorded(), ""), 2)
    one_line(residue("mark", "999999999", "x"), 3)


# ---- the socket and the pipe -----------------------------------------------

def socket_of(live):
    return sqlite3.connect(live.recording).execute(
        "SELECT value FROM meta WHERE key = 'socket'").fetchone()[0]


def knock(path, *datagrams):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.settimeout(5)
        one.connect(path)
        for datagram in datagrams:
            try:
                one.send(datagram)
            except BrokenPipeError:
                return


HELLO_BYTES = 192


def hello(**fields):
    """A greeting that is well-formed but for what is asked."""
    magic = fields.get("magic", 0x31647372)
    version = fields.get("version", 1)
    head = struct.pack("<IHH", magic, version, HELLO_BYTES)
    body = head + b"\0" * (HELLO_BYTES - len(head) - 8)
    return body + struct.pack("<HHI", fields.get("exe", 0),
                              fields.get("command", 0), 0)


def test_garbage_on_the_socket():
    """Garbage on the socket does not disturb the collector"""
    with Live(chain.some_python().path, "-c",
              "import os; os.write(1, b'x\\n'); os.read(0, 1)") as live:
        live.line()
        path = socket_of(live)
        for datagram in (b"", b"x", b"\xff" * 9000, os.urandom(200),
                         os.urandom(4000), hello(), hello(version=7),
                         hello(exe=60000, command=60000), hello()[:100],
                         b"rsdc", b"rsdc" + b"\0" * 1036,
                         b"rsdc\x01\0\xff\xff" + b"\xff" * 1032):
            knock(path, datagram)
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                  for _ in range(50)]
        for one in silent:
            one.connect(path)
        live.mark("after all that")
        same("processes", len(live.stats("after all that")["types"]) > 0, True)
        for one in silent:
            one.close()
        same("exit status", live.end(), 0)


def request(kind):
    """One request to a collector (include/control.h)."""
    return struct.pack("<IHHii", 0x63647372, 1, kind, 0, 0).ljust(1040, b"\0")


def test_more_than_one_request():
    """A connection asks once; what comes behind its request is not read"""
    mark, ended = 1, 3
    with Live(chain.some_python().path, "-c",
              "import os; os.write(1, b'x\\n'); os.read(0, 1)") as live:
        live.line()
        path = socket_of(live)
        for first, second in ((mark, request(mark)), (mark, b"garbage"),
                              (ended, b"garbage"), (ended, request(ended))):
            asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            asking.connect(path)
            asking.send(request(first))
            try:
                asking.send(second)
            except OSError:
                pass  # it was answered already
            live.mark("after %d" % first)
            asking.close()
        same("exit status", live.end(), 0)


def test_garbage_on_the_pipe():
    """A stream that makes no sense ends that stream and nothing else"""
    program = """
import os, stat
pipes = [int(n) for n in os.listdir('/proc/self/fd') if int(n) >= 100]
pipes = [n for n in pipes if stat.S_ISFIFO(os.fstat(n).st_mode)]
os.write(1, b'%d\\n' % len(pipes))
for n in pipes:
    os.write(n, os.urandom(4096) * 3)
os.read(0, 1)
"""
    with Live(chain.some_python().path, "-c", program) as live:
        same("pipes of ours", live.line(), "1")
        same("exit status", live.end(), 0)
    events = sqlite3.connect(live.recording).execute(
        "SELECT kind FROM event").fetchall()
    if ("malformed",) not in events:
        raise AssertionError("nothing is said about it: %r" % events)


def test_another_users_collector_is_not_trusted():
    """A process does not hand its memory to another user's collector"""
    if os.geteuid() != 0:
        raise chain.Skip("only root can become another user")
    os.chmod(chain.folder, 0o777)
    path = os.path.join(chain.folder, "s")
    program = ("import os, socket, sys\n"
               "os.setgid(65534); os.setuid(65534)\n"
               "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
               "s.bind(%r); os.chmod(%r, 0o777); s.listen(5)\n"
               "print('ready'); sys.stdout.flush()\n"
               "s.settimeout(5)\n"
               "c = s.accept()[0]; c.settimeout(3)\n"
               "print(len(c.recv(10000)))\n" % (path, path))
    server = subprocess.Popen((chain.some_python().path, "-c", program),
                              stdout=subprocess.PIPE)
    server.stdout.readline()
    result = run("true", env=chain.clean_environment(
        LD_PRELOAD=chain.chain.preload, RESIDUE_SOCKET=path))
    same("exit status", result.returncode, 0)
    same("what it was given", server.stdout.read().strip(), b"0")
    server.wait()


if __name__ == "__main__":
    chain.main(globals())
