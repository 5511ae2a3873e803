"""Without a collector, and with one that hangs, the target ends as always."""
import os
import signal
import socket
import subprocess
import threading
import time

import chain
from chain import collector_of, run, same, slowness, wait_for
from programs import BUSY


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
        points.append((took < 5 * slowness(), "%s: %.2f s" % (what, took)))
    return points


def test_collector_stopped():
    """A collector that hangs holds the target for a moment, not for ever"""
    bare = run(chain.some_python().path, "-c", BUSY).stdout
    process = subprocess.Popen(
        (chain.chain.residue, "run", "-q", "-o", "h.rec",
         chain.some_python().path, "-c", BUSY), env=chain.clean_environment(),
        cwd=chain.folder, stdout=subprocess.PIPE)
    wait_for(lambda: collector_of(process.pid), "the collector")
    collector = collector_of(process.pid)
    time.sleep(0.5)
    os.kill(collector, signal.SIGSTOP)
    started = time.monotonic()
    said = process.stdout.readline()
    took = time.monotonic() - started
    os.kill(collector, signal.SIGCONT)
    same("exit status", process.wait(60), 7)
    same("what it prints", said, bare)
    if took > 5 * slowness():
        raise AssertionError("the target needed %.1f s" % took)


if __name__ == "__main__":
    chain.main(globals())
