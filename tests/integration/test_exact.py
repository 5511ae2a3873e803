"""At level exact the collector's live blocks are the target's, one by one."""
import chain
from chain import on_every_interpreter
from oracle import follow

def test_one_thread():
    """Of one thread's blocks the live ones are known"""
    return [(True, follow(chain.chain.target("exchange"), "0", "300000"))]


def test_threads():
    """Of threads that hand blocks to one another the live ones are known"""
    points = []
    for n_threads, n_rounds in ((1, 50000), (3, 50000), (7, 20000),
                                (63, 3000)):
        chain.fresh_folder()
        points.append((True, "%d threads: %s" % (
            n_threads + 1, follow(chain.chain.target("exchange"),
                                  str(n_threads), str(n_rounds)))))
    return points


def test_programs():
    """Of programs as they come the live ones are known, in all processes"""
    python = chain.some_python().path
    points = []
    for what, command in (
            ("sh with children", ("sh", "-c", "ls / | sort | head -3 >o; "
                                  "(echo a; true) | cat >o; exit 0")),
            ("gcc", ("gcc", "-O1", "-w", "-o", "o", "-x", "c",
                     chain.chain.source("exchange.c"))),
            ("sqlite3", ("sqlite3", ":memory:", SQL)),
            ("forks among threads", (python, "-c", FORKS)),
            ("processes of multiprocessing", (python, "-c", POOL))):
        chain.fresh_folder()
        try:
            points.append((True, "%s: %s" % (what, follow(*command))))
        except AssertionError as error:
            points.append((False, "%s: %s" % (what, error)))
    return points


def churn(interpreter):
    return follow(interpreter.path, "-c", CHURN)


def test_every_interpreter():
    """Of an interpreter's calls of malloc the live blocks are known"""
    return on_every_interpreter(churn)


SQL = ("CREATE TABLE t(a, b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
       "SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(i) "
       "FROM n; CREATE INDEX j ON t(b); DELETE FROM t WHERE a % 3 = 0; "
       "SELECT count(*) FROM t WHERE b LIKE '%1%' GROUP BY a % 7 LIMIT 0;")
FORKS = """
import os, threading
kept = []
def work(n):
    for i in range(300):
        kept.append(bytearray(600 + n * i))
        if len(kept) > 100:
            del kept[::2]
        if i % 60 == 0:
            child = os.fork()
            if child == 0:
                del kept[:]
                more = [bytearray(1000 + k) for k in range(50)]
                os._exit(0)
            os.waitpid(child, 0)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""
POOL = """
import multiprocessing as m
def work(n):
    return len([bytearray(600 + i) for i in range(n)])
if __name__ == '__main__':
    with m.get_context('fork').Pool(3) as pool:
        pool.map(work, [500] * 9)
        pool.close()
        pool.join()
"""
CHURN = """
import json
kept = []
for i in range(60):
    kept.append(json.loads(json.dumps({'a': list(range(200)), 'b': 'x' * 900,
                                       'c': [{'d': k} for k in range(100)]})))
    if i % 3 == 0:
        del kept[::2]
big = bytearray(1 << 20)
big.extend(b'y' * 300000)
del big
"""


if __name__ == "__main__":
    chain.main(globals())
