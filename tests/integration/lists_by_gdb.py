"""Run by gdb in a Python process: counts of its free lists, by its symbols.

Prints `LIST name count` for each list of the version, and for 2.7 besides
`BLOCKS int|float blocks live free pinned empty`, by walking the interpreter's
own chains: of blocks, and of free slots. A block is pinned by one live slot.
"""
import bisect
import struct

import gdb

BLOCK, SLOTS, SLOT = 992, 41, 24

# Static variables: (list, file of the interpreter, variable).
OLD_STATICS = (("list", "listobject.c", "numfree"),
               ("dict", "dictobject.c", "numfree"),
               ("frame", "frameobject.c", "numfree"))
STATICS = OLD_STATICS + (
    ("float", "floatobject.c", "numfree"),
    ("dictkeys", "dictobject.c", "numfreekeys"),
    ("async_generator_wrapped_value", "genobject.c",
     "ag_value_freelist_free"),
    ("async_generator_asend", "genobject.c", "ag_asend_freelist_free"),
    ("MemoryError", "exceptions.c", "memerrors_numfree"))
CALLS = (("method", "classobject.c", "numfree"),
         ("builtin_function_or_method", "methodobject.c", "numfree"))
CONTEXTS = (("Context", "context.c", "ctx_freelist_len"),)
BY_VERSION = {
    (2, 7): OLD_STATICS + (
        ("set", "setobject.c", "numfree"),
        ("unicode", "unicodeobject.c", "numfree"),
        ("instancemethod", "classobject.c", "numfree"), CALLS[1]),
    (3, 6): STATICS + CALLS,
    (3, 7): STATICS + CALLS + CONTEXTS,
    (3, 8): STATICS + CALLS + CONTEXTS,
    (3, 9): STATICS + CONTEXTS,
}

# Members of an interpreter's state.
STATES = (("float", "float_state.numfree"),
          ("list", "list.numfree"),
          ("dict", "dict_state.numfree"),
          ("dictkeys", "dict_state.keys_numfree"),
          ("async_generator_wrapped_value", "async_gen.value_numfree"),
          ("async_generator_asend", "async_gen.asend_numfree"),
          ("Context", "context.numfree"),
          ("MemoryError", "exc_state.memerrors_numfree"))
STATES_3_13 = tuple(
    (name, "object_state.freelists.%s.numfree" % member) for name, member in (
        ("float", "floats"), ("list", "lists"), ("dict", "dicts"),
        ("dictkeys", "dictkeys"), ("Context", "contexts"),
        ("async_generator_wrapped_value", "async_gens"),
        ("async_generator_asend", "async_gen_asends"),
        ("object_stack_chunk", "object_stacks"))) + STATES[-1:]


def value(expression):
    return int(gdb.parse_and_eval(expression))


def statics(version):
    for name, file, variable in BY_VERSION[version]:
        yield name, value("'%s'::%s" % (file, variable))
    yield "tuple", sum(value("'tupleobject.c'::numfree[%d]" % i)
                       for i in range(1, 20))
    if version[0] == 3:
        yield "slice", value("'sliceobject.c'::slice_cache != 0")


def states(version):
    state = "_PyRuntime.interpreters.main->"
    lists, tuples, slices = STATES, "tuple.numfree", "slice_cache"
    if version == (3, 10):
        lists += (("frame", "frame.numfree"),)
    if version >= (3, 13):
        lists = STATES_3_13
        tuples = "object_state.freelists.tuples.numfree"
        slices = "object_state.freelists.slices.slice_cache"
    for name, member in lists:
        yield name, value(state + member)
    yield "tuple", sum(value("%s%s[%d]" % (state, tuples, i))
                       for i in range(version == (3, 10), 20))
    yield "slice", value("%s%s != 0" % (state, slices))


def blocks(memory, file, type_name):
    """How many there are, how many of their slots are live and free, and how
    many of them have one live slot, or none."""
    block = value("(unsigned long)'%s'::block_list" % file)
    free = value("(unsigned long)'%s'::free_list" % file)
    type_object = value("(unsigned long)&%s" % type_name)
    n_free = 0
    live = []
    contents = {}
    while block:
        words = contents[block] = struct.unpack(
            "<124Q", bytes(memory.read_memory(block, BLOCK)))
        live.append(sum(words[2 + 3 * i] == type_object
                        for i in range(SLOTS)))
        block = words[0]
    starts = sorted(contents)
    while free:
        n_free += 1
        start = starts[bisect.bisect(starts, free) - 1]
        free = contents[start][(free - start) // 8 + 1]
    return len(live), sum(live), n_free, live.count(1), live.count(0)


def main():
    text = gdb.parse_and_eval("(char *)Py_GetVersion()").string()
    version = tuple(map(int, text.split(".")[:2]))
    found = statics(version) if version < (3, 10) else states(version)
    for name, count in found:
        print("LIST %s %d" % (name, count))
    if version == (2, 7):
        memory = gdb.selected_inferior()
        for kind, file, of_type in (
                ("int", "intobject.c", "PyInt_Type"),
                ("float", "floatobject.c", "PyFloat_Type")):
            print("BLOCKS %s %d %d %d %d %d" % (
                (kind,) + blocks(memory, file, of_type)))


main()
