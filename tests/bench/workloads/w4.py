"""A JSON document of some megabytes, parsed and written again."""
import json

import scale

RECORDS = 30000


def record(i):
    return {
        "id": i,
        "name": "customer %d" % i,
        "address": "customer%d@example.org" % i,
        "groups": ["g%d" % (i % 5), "g%d" % (i % 13)],
        "balance": i * 0.25,
        "place": {"row": i % 101, "column": i % 89},
        "active": i % 3 == 0,
    }


sizes = scale.rounds(48, RECORDS)
text = json.dumps([record(i) for i in range(sizes[0])])
for _ in sizes:
    again = json.dumps(json.loads(text))
assert len(again) == len(text)
