"""A million instances with __slots__, and a million with a dictionary each."""
import scale


class Slotted(object):
    __slots__ = ("first", "second", "rest")

    def __init__(self, number):
        self.first = number
        self.second = number + 1
        self.rest = None


class Open(object):
    def __init__(self, number):
        self.first = number
        self.second = number + 1
        self.rest = None


for size in scale.rounds(5, 1000000):
    slotted = [Slotted(i) for i in range(size)]
    others = [Open(i) for i in range(size)]
    del slotted, others
