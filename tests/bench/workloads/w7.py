"""Native libraries that allocate: an SQLite table in memory, and zlib."""
import sqlite3
import zlib

import scale

ROWS = 200000
BATCH = 100


def rows(n):
    for i in range(n):
        yield "key%d" % (i * 7919 % n), "v" * (i % 50), i * 0.5


def fill(database, n):
    database.execute(
        "create table entry (id integer primary key, key, value, weight)")
    database.executemany(
        "insert into entry (key, value, weight) values (?, ?, ?)", rows(n))
    database.execute("create index by_key on entry (key)")


def read(database, n):
    total = 0
    for row in database.execute("select * from entry order by key"):
        total += len(row[2])
    for first in range(0, n, BATCH):
        batch = database.execute(
            "select value from entry where id between ? and ?",
            (first, first + BATCH)).fetchall()
        packed = zlib.compress(repr(batch).encode("ascii"), 1)
        total += len(zlib.decompress(packed))
    return total


for size in scale.rounds(9, ROWS):
    database = sqlite3.connect(":memory:")
    fill(database, size)
    read(database, size)
    database.close()
