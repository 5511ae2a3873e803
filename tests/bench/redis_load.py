"""A redis-server, and requests at a fixed rate whose latency is taken.

A request counts from when it was due if the one before had not been answered by
then, for that is the server's doing; else from when it was sent, for that we
woke late is our own.
"""
import os
import random
import shutil
import socket
import time

from rig import Failure

VALUE_BYTES = 1000


def program():
    """Debian's server and its checker are one program, told apart by name."""
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


def command(directory):
    """A server with its socket in the directory, which forgets everything."""
    path = program()
    if path is None:
        raise Failure("no redis-server (apt-get install redis-server)")
    server = os.path.join(directory, "redis-server")
    os.symlink(os.path.realpath(path), server)
    return [server, "--port", "0", "--unixsocket", os.path.join(directory, "s"),
            "--save", "", "--appendonly", "no", "--loglevel", "warning",
            "--daemonize", "no"]


def encoded(*words):
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Client:
    def __init__(self, directory):
        path = os.path.join(directory, "s")
        until = time.monotonic() + 30
        while not os.path.exists(path):
            if time.monotonic() > until:
                raise Failure("redis-server did not start")
            time.sleep(0.05)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.chance = random.Random(7)
        self.n_keys = 0

    def close(self):
        self.socket.close()

    def fill(self, n_bytes):
        """So many bytes of values, a thousand of each request."""
        n_keys = n_bytes // VALUE_BYTES
        for first in range(0, n_keys, 1000):
            numbers = range(first, min(first + 1000, n_keys))
            self.socket.sendall(b"".join(
                encoded(b"SET", b"key:%d" % i, b"v" * VALUE_BYTES)
                for i in numbers))
            self._answers(b"+OK\r\n", len(numbers))
        self.n_keys = n_keys

    def _answers(self, answer, n):
        left = len(answer) * n
        while left > 0:
            got = self.socket.recv(1 << 16)
            if not got or got[:1] not in b"+OK\r\n":
                raise Failure("redis answers %r" % got)
            left -= len(got)

    def _request(self):
        key = b"key:%d" % self.chance.randrange(self.n_keys)
        if self.chance.random() < 0.5:
            self.socket.sendall(encoded(b"GET", key))
            left = len(b"$%d\r\n" % VALUE_BYTES) + VALUE_BYTES + 2
        else:
            self.socket.sendall(encoded(b"SET", key, b"w" * VALUE_BYTES))
            left = len(b"+OK\r\n")
        while left > 0:
            got = self.socket.recv(1 << 16)
            if not got:
                raise Failure("redis hung up")
            left -= len(got)

    def latencies(self, seconds, rate):
        """Of each request, in microseconds, ascending."""
        found = []
        start = time.perf_counter()
        answered = start
        for i in range(int(seconds * rate)):
            due = start + i / rate
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
                now = time.perf_counter()
            begun = due if answered > due else now
            self._request()
            answered = time.perf_counter()
            found.append((answered - begun) * 1e6)
        return sorted(found)


def quantile(ascending, part):
    return ascending[min(len(ascending) - 1, int(part * len(ascending)))]
