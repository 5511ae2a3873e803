#include "preload/python/gc.h"

#include <stddef.h>
#include <string.h>

#include "include/attrs.h"
#include "preload/end.h"
#include "preload/guard.h"
#include "preload/process.h"
#include "preload/python/detect.h"
#include "preload/python/objects.h"
#include "preload/record.h"
#include "preload/resident.h"

enum {
    LOOKS = 200000, /* mallocs to look at before falling dormant */
    INSTALLS = 50,  /* 3.6 refuses the import of gc while it starts */
    N_GENERATIONS = 3,
    /* Two readings are a fiftieth of it: they cost 2 to 3 us each. */
    WORTH_READING_NS = 250000,
};

typedef struct python_object PyObject;
typedef PyObject *(*python_function)(PyObject *, PyObject *);

/* Include/methodobject.h, the same in every version. */
struct python_method {
    const char *name;
    python_function function;
    int flags;
    const char *doc;
};

enum { METH_VARARGS = 1 };

/* X(name, returned type, parameters): what is called of the C API. */
#define PYTHON_API(X)                                                 \
    X(Py_IsInitialized, int, (void))                                  \
    X(Py_AddPendingCall, int, (int (*)(void *), void *))              \
    X(PyImport_ImportModule, PyObject *, (const char *))              \
    X(PyImport_GetModuleDict, PyObject *, (void))                     \
    X(PyObject_GetAttrString, PyObject *, (PyObject *, const char *)) \
    X(PyObject_CallObject, PyObject *, (PyObject *, PyObject *))      \
    X(PyObject_IsTrue, int, (PyObject *))                             \
    X(PyCFunction_NewEx, PyObject *,                                  \
      (struct python_method *, PyObject *, PyObject *))               \
    X(PyList_Append, int, (PyObject *, PyObject *))                   \
    X(PyList_GetItem, PyObject *, (PyObject *, ssize_t))              \
    X(PyTuple_GetItem, PyObject *, (PyObject *, ssize_t))             \
    X(PyDict_GetItem, PyObject *, (PyObject *, PyObject *))           \
    X(PyDict_GetItemString, PyObject *, (PyObject *, const char *))   \
    X(PyDict_DelItemString, int, (PyObject *, const char *))          \
    X(PyLong_AsLongLong, long long, (PyObject *))                     \
    X(PyUnicode_AsUTF8, const char *, (PyObject *))                   \
    X(PyUnicode_InternFromString, PyObject *, (const char *))         \
    X(PyErr_Clear, void, (void))                                      \
    X(Py_IncRef, void, (PyObject *))                                  \
    X(Py_DecRef, void, (PyObject *))

_Atomic int python_gc_current_state = PYTHON_GC_ABSENT;

static struct {
#define X(name, type, parameters) type(*name) parameters;
    PYTHON_API(X)
#undef X
    int (*is_finalizing)(void); /* 3.7 and later */
    void *const *finalizing;    /* 3.6: the thread that finalizes */
    PyObject *none;
} api;

static struct {
    _Atomic unsigned n_looks;
    unsigned n_installs;
    bool has_callback;
    bool was_initialized;
    PyObject *key_generation;
    PyObject *key_collected;
    PyObject *key_uncollectable;
    PyObject *is_enabled; /* gc.isenabled */
    uint64_t started_ns;  /* of the collection under way */
    uint64_t start_stamp;
    uint64_t rss_before; /* 0: it was not read */
    uint64_t last_pause_ns[N_GENERATIONS];
    unsigned n_collections;
    bool has_told_end; /* in the first collection of the finalization */
} gc;

/* ---- a collection ------------------------------------------------------ */

static uint64_t
info_number(PyObject *info, PyObject *key)
{
    PyObject *value = api.PyDict_GetItem(info, key);
    const long long number = value == NULL ? 0 : api.PyLong_AsLongLong(value);
    if (number == -1)
        api.PyErr_Clear(); /* somebody else called us, with what is no number */
    return number < 0 ? 0 : (uint64_t)number;
}

static bool
is_finalizing(void)
{
    if (api.is_finalizing != NULL)
        return api.is_finalizing() != 0;
    return api.finalizing != NULL && *api.finalizing != NULL;
}

/* The heap is whole in the first collection of a finalization alone. */
static void
tell_end(void)
{
    if (!gc.has_told_end)
        end_with_census(WIRE_END_FINALIZATION, -1);
    gc.has_told_end = true;
}

/*
 * A collection of the youngest is too short and too frequent; of the others
 * those are read that are likely to be long, as the last one was, or that are
 * the first. A child that nobody knows yet would read of its parent.
 */
static bool
is_worth_reading(uint64_t generation)
{
    return generation > 0 && generation < N_GENERATIONS &&
           (gc.last_pause_ns[generation] == 0 ||
            gc.last_pause_ns[generation] >= WORTH_READING_NS) &&
           process_mode() == PROCESS_ON && process_birth() == PROCESS_KNOWN;
}

static void
collection_starts(PyObject *info)
{
    gc.rss_before = is_worth_reading(info_number(info, gc.key_generation))
                        ? resident_bytes()
                        : 0;
    gc.start_stamp = process_next_stamp();
    gc.started_ns = process_now_ns(); /* the pause begins now */
}

static void
collection_ends(PyObject *info)
{
    gc.n_collections++;
    struct wire_gc event = {
        .started_ns = gc.started_ns,
        .pause_ns = process_now_ns() - gc.started_ns,
        .start_stamp = gc.start_stamp,
        .end_stamp = process_next_stamp(),
        .collected = info_number(info, gc.key_collected),
        .uncollectable = info_number(info, gc.key_uncollectable),
        .rss_before = gc.rss_before,
    };
    if (gc.rss_before != 0)
        event.rss_after = resident_bytes();
    const uint64_t generation = info_number(info, gc.key_generation);
    if (generation < N_GENERATIONS)
        gc.last_pause_ns[generation] = event.pause_ns;
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_gc(thread, &event, (uint32_t)generation);
        guard_leave(thread);
    }
}

/* gc.callbacks: (phase, info), Modules/gcmodule.c invoke_gc_callback. */
static PyObject *
callback(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *phase = api.PyTuple_GetItem(args, 0);
    PyObject *info = api.PyTuple_GetItem(args, 1);
    const char *name = phase == NULL ? NULL : api.PyUnicode_AsUTF8(phase);
    if (name == NULL || info == NULL) {
        api.PyErr_Clear(); /* somebody else called us */
    } else if (strcmp(name, "start") == 0) {
        if (is_finalizing())
            tell_end();
        collection_starts(info);
    } else if (gc.started_ns != 0) {
        collection_ends(info);
    }
    api.Py_IncRef(api.none);
    return api.none;
}

static struct python_method method = {
    .name = "residue",
    .function = callback,
    .flags = METH_VARARGS,
};

/* ---- joining gc.callbacks ---------------------------------------------- */

/* gc.get_stats(): what was collected before we came. */
static bool
read_seed(PyObject *module, struct wire_python *python)
{
    bool is_read = false;
    PyObject *get_stats = api.PyObject_GetAttrString(module, "get_stats");
    PyObject *stats =
        get_stats == NULL ? NULL : api.PyObject_CallObject(get_stats, NULL);
    if (stats != NULL) {
        is_read = true;
        for (unsigned i = 0; i < countof(python->seed) && is_read; i++) {
            PyObject *row = api.PyList_GetItem(stats, i);
            PyObject *n = row == NULL
                              ? NULL
                              : api.PyDict_GetItemString(row, "collections");
            is_read = n != NULL;
            if (!is_read)
                break;
            python->seed[i].collections = (uint64_t)api.PyLong_AsLongLong(n);
            python->seed[i].collected = info_number(row, gc.key_collected);
            python->seed[i].uncollectable =
                info_number(row, gc.key_uncollectable);
        }
    }
    api.Py_DecRef(stats);
    api.Py_DecRef(get_stats);
    return is_read;
}

static bool
join_callbacks(PyObject *module)
{
    PyObject *callbacks = api.PyObject_GetAttrString(module, "callbacks");
    PyObject *function = api.PyCFunction_NewEx(&method, NULL, NULL);
    const bool is_joined = callbacks != NULL && function != NULL &&
                           api.PyList_Append(callbacks, function) == 0;
    api.Py_DecRef(function);
    api.Py_DecRef(callbacks);
    return is_joined;
}

/*
 * Reading allocates, and may thereby run a collection that is half in what was
 * read: then it is read again.
 */
static void
tell_python(PyObject *module)
{
    struct wire_python python;
    bool is_seeded;
    unsigned n_before;
    do {
        n_before = gc.n_collections;
        python = (struct wire_python){.since_ns = process_now_ns()};
        is_seeded = read_seed(module, &python);
    } while (n_before != gc.n_collections);
    const bool are_objects_told = python_objects_are_told();
    struct thread *thread = guard_enter(1);
    if (thread != NULL) {
        record_python(thread, &python,
                      (is_seeded ? WIRE_PYTHON_IS_SEEDED : 0) |
                          (are_objects_told ? WIRE_PYTHON_TELLS_OBJECTS : 0));
        guard_leave(thread);
    }
}

/*
 * The program did not import gc, so sys.modules does not keep it: a builtin
 * module that is imported again gets the same list of callbacks.
 */
static bool
install_with_lock(void)
{
    PyObject *modules = api.PyImport_GetModuleDict();
    const bool was_imported =
        modules != NULL && api.PyDict_GetItemString(modules, "gc") != NULL;
    PyObject *module = api.PyImport_ImportModule("gc");
    if (module == NULL)
        return false;
    if (gc.key_generation == NULL) {
        gc.key_generation = api.PyUnicode_InternFromString("generation");
        gc.key_collected = api.PyUnicode_InternFromString("collected");
        gc.key_uncollectable = api.PyUnicode_InternFromString("uncollectable");
        gc.is_enabled = api.PyObject_GetAttrString(module, "isenabled");
    }
    gc.has_callback = join_callbacks(module);
    if (gc.has_callback)
        tell_python(module);
    if (!was_imported && modules != NULL)
        api.PyDict_DelItemString(modules, "gc");
    api.Py_DecRef(module);
    return gc.has_callback;
}

static void
settle(void)
{
    atomic_store(&python_gc_current_state, PYTHON_GC_SETTLED);
    guard_slow_down(false);
}

/* Runs in the main thread between two bytecodes. Must not fail. */
static int
install(void *unused)
{
    (void)unused;
    const bool is_installed = gc.has_callback || install_with_lock();
    api.PyErr_Clear();
    if (is_installed || ++gc.n_installs == INSTALLS)
        settle();
    else
        atomic_store(&python_gc_current_state, PYTHON_GC_WAITING);
    return 0;
}

COLD void
python_gc_look(void)
{
    if (api.Py_IsInitialized() == 0) {
        if (!process_is_threaded()) /* or another may set them just now */
            python_objects_look();
        if (atomic_fetch_add(&gc.n_looks, 1) == LOOKS) {
            atomic_store(&python_gc_current_state, PYTHON_GC_DORMANT);
            guard_slow_down(false);
        }
        return;
    }
    gc.was_initialized = true;
    if (python_version() < 0x0300) {
        settle();
        return;
    }
    int waiting = PYTHON_GC_WAITING;
    if (atomic_compare_exchange_strong(&python_gc_current_state, &waiting,
                                       PYTHON_GC_ASKED) &&
        api.Py_AddPendingCall(install, NULL) != 0)
        atomic_store(&python_gc_current_state, PYTHON_GC_WAITING);
}

void
python_gc_saw_mapping(uint64_t caller)
{
    int dormant = PYTHON_GC_DORMANT;
    if (thread_caller(caller) == WIRE_CALLER_PYTHON &&
        atomic_compare_exchange_strong(&python_gc_current_state, &dormant,
                                       PYTHON_GC_WAITING)) {
        atomic_store(&gc.n_looks, 0);
        guard_slow_down(true);
    }
    python_gc_tick();
}

/*
 * What we had of it went with it: not even our references may be given up. All
 * but that there was one begins anew.
 */
void
python_gc_finalized(void)
{
    if (atomic_load(&python_gc_current_state) == PYTHON_GC_ABSENT ||
        python_version() < 0x0300 || api.Py_IsInitialized() != 0)
        return;
    gc.has_callback = false;
    gc.has_told_end = false;
    gc.n_installs = 0;
    gc.n_collections = 0;
    gc.started_ns = 0;
    gc.key_generation = NULL;
    gc.key_collected = NULL;
    gc.key_uncollectable = NULL;
    gc.is_enabled = NULL;
    atomic_store(&gc.n_looks, 0);
    atomic_store(&python_gc_current_state, PYTHON_GC_WAITING);
    guard_slow_down(true);
}

/* ---- what others ask --------------------------------------------------- */

void
python_gc_init(void)
{
    bool is_complete = true;
#define X(name, type, parameters)    \
    python_symbol(#name, &api.name); \
    is_complete = is_complete && api.name != NULL;
    PYTHON_API(X)
#undef X
    python_symbol("Py_IsFinalizing", &api.is_finalizing);
    if (api.is_finalizing == NULL)
        python_symbol("_Py_IsFinalizing", &api.is_finalizing);
    python_symbol("_Py_Finalizing", &api.finalizing);
    python_symbol("_Py_NoneStruct", &api.none);

    const bool is_old = python_version() < 0x0300;
    if (api.Py_IsInitialized == NULL || (!is_complete && !is_old) ||
        api.none == NULL)
        return;
    atomic_store(&python_gc_current_state, PYTHON_GC_WAITING);
    guard_slow_down(true);
}

bool
python_heap_is_whole(void)
{
    if (!gc.was_initialized)
        return true;
    return api.Py_IsInitialized() != 0 && !is_finalizing();
}

bool
python_gc_will_tell_end(void)
{
    if (!gc.has_callback || gc.is_enabled == NULL)
        return false;
    PyObject *is_enabled = api.PyObject_CallObject(gc.is_enabled, NULL);
    const bool will =
        is_enabled != NULL && api.PyObject_IsTrue(is_enabled) == 1;
    if (is_enabled == NULL)
        api.PyErr_Clear();
    api.Py_DecRef(is_enabled);
    return will;
}
