"""Without a collector, and with one that hangs, the target ends as always."""
import os
import signal
import socket
import subprocess
import threading
import time

import chain
from chain import run, same, wait_for

# Busy for a second and a half, with threads and a child, then says a sum.
BUSY = """
import os, threading, time
until = time.time() + 1.5
sums = []
def churn(seed):
    total = n = 0
    while n < 60 or time.time() < until:
        block = [bytearray((i * seed) % 3000 + 1) for i in range(300)]
        big = bytearray(300000)
        if n < 60:
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
"""


def preloaded(path, *command, **options):
    """Bare, but for the preload and a socket of our choice."""
    environment = chain.clean_environment(LD_PRELOAD=chain.chain.preload)
    if path is not None:
        environment["RESIDUE_SOCKET"] = path
    return run(*command, env=environment, **options)


class Server:
    """Something at a socket that is no collector."""

    def __init__(self, answer):
        self.path = os.path.join(chain.folder, "s")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        self.socket.listen(100)
        self.answer = answer
        self.kept = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            self.kept.append(connection)
            if self.answer is not None:
                connection.recv(100000)
                connection.send(self.answer)

    def close(self):
        self.socket.close()


PROGRAM = ("import os, sys; x = [str(i) for i in range(100000)]; "
           "print(len(x)); sys.exit(5)")


def check_normal(result):
    same("result", (result.returncode, result.stdout, result.stderr),
         (5, b"100000\n", b""))


def test_without_a_collector():
    """Without a collector the preload is as good as not there"""
    python = chain.some_python().path
    points = []
    for what, path in (("no socket is named", None),
                       ("a socket that does not exist", "/nowhere/s"),
                       ("a path that is too long", "/" + "x" * 200),
                       ("a file that is no socket", __file__)):
        check_normal(preloaded(path, python, "-c", PROGRAM))
        points.append((True, what))
    return points


def test_with_somebody_else_at_the_socket():
    """A stranger at the socket is left after a moment"""
    points = []
    for what, answer in (("one who never answers", None),
                         ("one who answers garbage", b"\xff" * 16),
                         ("one who answers too little", b"x")):
        chain.fresh_folder()
        server = Server(answer)
        started = time.monotonic()
        check_normal(preloaded(server.path, chain.some_python().path, "-c",
                               PROGRAM))
        took = time.monotonic() - started
        server.close()
        points.append((took < 5, "%s: %.2f s" % (what, took)))
    return points


def collector_of(process):
    """The pid of the residued that a `residue run` has started."""
    with open("/proc/%d/task/%d/children" % (process.pid,
                                             process.pid)) as children:
        for pid in map(int, children.read().split()):
            with open("/proc/%d/comm" % pid) as comm:
                if comm.read().strip() == "residued":
                    return pid
    return None


def test_collector_stopped():
    """A collector that hangs holds the target for a moment, not for ever"""
    bare = run(chain.some_python().path, "-c", BUSY).stdout
    process = subprocess.Popen(
        (chain.chain.residue, "run", "-q", "-o", "h.rec",
         chain.some_python().path, "-c", BUSY), env=chain.clean_environment(),
        cwd=chain.folder, stdout=subprocess.PIPE)
    wait_for(lambda: collector_of(process), "the collector")
    collector = collector_of(process)
    time.sleep(0.5)
    os.kill(collector, signal.SIGSTOP)
    started = time.monotonic()
    said = process.stdout.readline()
    took = time.monotonic() - started
    os.kill(collector, signal.SIGCONT)
    same("exit status", process.wait(60), 7)
    same("what it prints", said, bare)
    if took > 10:
        raise AssertionError("the target needed %.1f s" % took)


if __name__ == "__main__":
    chain.main(globals())
