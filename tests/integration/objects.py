"""A program that builds objects of known types, and how many there are of each.

Everything is to be built twice: the first time settles what the interpreter
keeps for itself (caches, tables of the lists), the second one is counted.
Modules that are files are not needed: not every embedded interpreter can load
them.
"""
N, S, G = 5000, 3000, 2000
TUPLES, DICTS, FLOATS, INTS = 7000, 4000, 9000, 11000
STRINGS = 3 * 59 * 40  # of 2 to 60 letters, each with 1, 2 or 4 bytes

BUILD = """
import gc, os, signal, sys
N, S, G, TUPLES, DICTS, FLOATS, INTS, STRINGS = %r

class Counted(object):
    def __init__(self, x):
        self.x = x

class Slotted(object):
    __slots__ = ('x',)

def generator(x):
    yield x

instances = [None] * N
slotted = [None] * N
sets = [None] * S
generators = [None] * G
tuples = [None] * TUPLES
dicts = [None] * DICTS
floats = [None] * FLOATS
ints = [None] * INTS
strings = [None] * STRINGS
everything = (instances, slotted, sets, generators, tuples, dicts, floats, ints,
              strings)
letters = ('s', u'\\u20ac', u'\\U0001f40d')

def build(x=None):
    for i in range(N):
        instances[i] = Counted(x)
        slotted[i] = Slotted()
    for i in range(S):
        sets[i] = set()
    for i in range(G):
        generators[i] = generator(x)
    for i in range(TUPLES):
        tuples[i] = (x, i %% 2)
    for i in range(DICTS):
        dicts[i] = {'k': x}
    for i in range(FLOATS):
        floats[i] = i * 0.5
    for i in range(INTS):
        ints[i] = i + 1000000
    for i in range(STRINGS):
        strings[i] = letters[i %% 3] * (2 + i // 3 %% 59)

def clear():
    for one in everything:
        for i in range(len(one)):
            one[i] = None
""" % ((N, S, G, TUPLES, DICTS, FLOATS, INTS, STRINGS),)


def expected(interpreter):
    """What build() adds. To 3.10 an instance's attributes are a dict."""
    own_dicts = 0 if interpreter.is_at_least(3, 11) else N
    growth = {"Counted": N, "Slotted": N, "set": S, "generator": G,
              "tuple": TUPLES, "dict": DICTS + own_dicts}
    if interpreter.is_at_least(3):
        growth.update({"float": FLOATS, "int": INTS, "str": STRINGS})
    else:
        growth.update({"str": STRINGS // 3, "unicode": STRINGS // 3 * 2})
    return growth
