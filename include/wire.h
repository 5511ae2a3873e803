/*
 * wire.h - what a traced process tells the collector
 *
 * Three things travel, all in the byte order of the machine they never leave:
 *
 *   hello    one SOCK_SEQPACKET datagram with seven descriptors (SCM_RIGHTS),
 *            answered by a welcome. Sent by the preload's constructor, and
 *            again by a forked child at its first event.
 *   shared   a memfd that both sides map. It holds the process' counters and
 *            the batches its threads are filling, so that the collector reads
 *            the tail of a quiet, killed or vanished thread by itself.
 *   batches  4 KiB blocks, written whole to a pipe (one write of PIPE_BUF bytes
 *            is atomic: pipe(7)), so that writers need no lock.
 *
 * The writer of everything here is a stranger to its reader: a collector proves
 * every size before it touches the bytes behind it.
 *
 * Version rule: WIRE_VERSION grows when an old reader would misread a new
 * writer. A new record kind needs no new version: every record carries its
 * length, and unknown kinds are skipped. Preload and collector are installed
 * together, so a reader refuses any other version.
 *
 * Sizes are usable bytes unless a name says `asked`. Times are CLOCK_MONOTONIC
 * in nanoseconds. Addresses are the target's.
 */
#ifndef INCLUDE_WIRE_H
#define INCLUDE_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_MAGIC = 0x31647372, /* "rsd1" */
    WIRE_VERSION = 6,
    WIRE_BATCH_BYTES = 4096,
    WIRE_BUFFER_BYTES = 64 * 1024,
    WIRE_BATCHES = WIRE_BUFFER_BYTES / WIRE_BATCH_BYTES - 1,
    WIRE_STEP_BUFFERS = 16, /* the memfd grows by so many buffers: 1 MiB */
    WIRE_MAX_BUFFERS = 4096,
    WIRE_RINGS = 16, /* for the first buffers after the common one */
    WIRE_RING_BATCHES = 256,
    WIRE_TEXT_BYTES = 4096, /* each of hello's two texts, at most */
    WIRE_BUILD_ID_BYTES = 20,
    WIRE_MOST_FRAMES = 256,     /* of a stack */
    WIRE_MOST_STACKS = 1 << 16, /* numbers are smaller */
    WIRE_STACK_SHIFT = 8,       /* of a stack's number in a BIRTH's detail */
    WIRE_IS_SAMPLE = 1 << 7,    /* in a BIRTH's detail and a DEATH's */
};

/* A malloc'ed block of so many usable bytes is an event in any case. */
#define WIRE_LARGE_BYTES (128u * 1024u)

/* Where the rings begin in the shared memory: see struct wire_ring. */
#define WIRE_RINGS_START ((uint64_t)WIRE_MAX_BUFFERS * WIRE_BUFFER_BYTES)
#define WIRE_RING_BYTES ((uint64_t)WIRE_RING_BATCHES * WIRE_BATCH_BYTES)

/* No buffer gets so far; a greater number is a lie. */
#define WIRE_MAX_SEQUENCE (UINT64_MAX >> 1)

/* ---- hello and welcome ------------------------------------------------- */

/* The order of the descriptors beside a hello. */
enum wire_descriptor {
    WIRE_FD_PIPE,   /* read end of the batches' pipe */
    WIRE_FD_SHARED, /* the memfd, sealed against shrinking */
    WIRE_FD_MEM,    /* /proc/self/mem, read-only; the next four likewise */
    WIRE_FD_MAPS,
    WIRE_FD_SMAPS,
    WIRE_FD_ROLLUP,
    WIRE_FD_PAGEMAP,
    WIRE_N_FDS,
};

enum wire_reason {
    WIRE_REASON_START, /* an image was loaded: a new process, or an exec */
    WIRE_REASON_FORK,  /* a child after fork: its parent's image goes on */
};

enum wire_flag {
    WIRE_FLAG_OWN_ALLOCATOR = 1 << 0,  /* the program's malloc is not hooked */
    WIRE_FLAG_FOREIGN_MALLOC = 1 << 1, /* hooked, but not glibc's behind it */
};

/* Who called malloc or free. */
enum wire_caller {
    WIRE_CALLER_NATIVE,
    WIRE_CALLER_PYTHON, /* the interpreter's own text */
    WIRE_N_CALLERS,
};

struct wire_counters {
    uint64_t births;
    uint64_t birth_bytes;
    uint64_t deaths;
    uint64_t death_bytes;
};

/* An address range of the target that is the profiler's own. */
struct wire_range {
    uint64_t start;
    uint64_t n_bytes;
};

struct wire_hello {
    uint32_t magic;
    uint16_t version;
    uint16_t hello_bytes; /* sizeof(struct wire_hello) */
    uint32_t reason;      /* enum wire_reason */
    uint32_t flags;       /* enum wire_flag */
    int32_t pid;          /* as the target sees itself */
    int32_t parent_pid;   /* after a fork: who forked, alive or not */
    uint64_t started_ns;
    uint64_t fork_stamp; /* the parent's last stamp when it forked */
    struct wire_counters inherited[WIRE_N_CALLERS];
    struct wire_range image;       /* the preload's mapped image */
    struct wire_range private_use; /* its private pages outside the image */
    struct wire_range python_text; /* the interpreter's, or empty */
    uint64_t python_runtime;       /* &_PyRuntime, or 0 */
    char python_version[24];       /* "3.11.7", or empty */
    uint16_t exe_bytes;            /* then follow the two texts: */
    uint16_t command_bytes;        /* /proc/self/exe, /proc/self/cmdline */
    uint32_t fork_number;          /* after a fork: of the parent's FORK */
};

static_assert(sizeof(struct wire_hello) == 192, "a packed layout");

/* What is told of the malloc family: the more, the greater. */
enum wire_level {
    WIRE_LEVEL_WATCH,  /* counts, large blocks, and a sample of all others */
    WIRE_LEVEL_EXACT,  /* each block, in an order that is its own */
    WIRE_LEVEL_STACKS, /* and with each birth the native stack */
    WIRE_N_LEVELS,
};

enum wire_verdict {
    WIRE_WELCOME,
    WIRE_REFUSED_VERSION,
    WIRE_REFUSED_USER,
    WIRE_REFUSED_FULL,
    WIRE_REFUSED_MALFORMED,
};

struct wire_welcome {
    uint32_t magic;
    uint16_t version;
    uint16_t verdict;      /* enum wire_verdict */
    uint32_t full_wait_ms; /* the most a full pipe holds a write; 0: drop */
    uint32_t level;        /* enum wire_level */
    uint64_t sample_bytes; /* at level watch: see struct wire_birth; or 0 */
};

static_assert(sizeof(struct wire_welcome) == 24, "a packed layout");

/* ---- the shared memory ------------------------------------------------- */

/*
 * At level exact the first buffers have each a ring of WIRE_RING_BATCHES behind
 * the last buffer that there may be, and their batches lie there. They are not
 * sent, but read where they are; only the one that the collector names is, so
 * that it wakes. None is overwritten that the collector has not taken, unless
 * its writer has waited for that as long as it may. What the collector says of
 * one of them:
 */
struct wire_ring {
    uint64_t taken;   /* the last batch that was read, or given up */
    uint64_t wake_at; /* the first one closed from here on is to be sent */
    uint64_t unused[6];
};

/*
 * The first 64 KiB of the memfd; only its first page is used. Buffer i starts
 * at (i + 1) * WIRE_BUFFER_BYTES.
 *
 * The three `end` words are tickets: the target raises end_asked, writes an END
 * record and waits on end_done (a shared futex) until that reaches its ticket;
 * if it stops waiting before, it says so in end_left, and whatever the
 * collector reads of its memory after that moment is not the end any more.
 */
struct wire_shared {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint32_t n_buffers; /* valid ones; only grows */
    uint32_t end_asked; /* written by the target */
    uint32_t end_done;  /* written by the collector */
    uint32_t end_left;  /* written by the target */
    uint32_t unused[10];
    uint64_t turn; /* the greatest that a thread has taken; a line of its own */
    uint64_t unused_either[7];
    struct wire_ring rings[WIRE_RINGS]; /* of buffers 1 and on */
};

static_assert(offsetof(struct wire_shared, turn) == 64, "a line of its own");
static_assert(offsetof(struct wire_shared, rings) == 128, "lines of their own");
static_assert(sizeof(struct wire_shared) <= 4096, "a page that both map");

/*
 * The head of a buffer. One thread owns a buffer at a time and is the only
 * writer of it; buffer 0 has no owner and is shared, its counters are added to
 * atomically. Counters are never reset, also not when the owner changes.
 */
struct wire_buffer_head {
    struct wire_counters counters[WIRE_N_CALLERS];
    uint32_t owner_tid;   /* 0: free */
    uint32_t open_bytes;  /* the writer's own: how far it is in its batch */
    uint64_t sequence;    /* of the batch being filled, from 1; 0: none yet */
    uint64_t n_events;    /* written to batches, since the start */
    uint64_t lost_events; /* counted but never written to a batch */
    uint64_t sent;        /* the writer's own: the batch it has sent last */
    uint64_t ring;        /* the writer's own: its place, 0: it has no ring */
    uint64_t answered;    /* the writer's own: the last wake_at it did answer */
};

static_assert(sizeof(struct wire_buffer_head) <= WIRE_BATCH_BYTES,
              "the head has the buffer's first page for itself");

/*
 * A batch: this header, then records. Batch `sequence` of a buffer lies at
 * offset (1 + (sequence - 1) % WIRE_BATCHES) * WIRE_BATCH_BYTES of it, or at
 * (sequence - 1) % WIRE_RING_BATCHES * WIRE_BATCH_BYTES of its ring, until a
 * later one takes its place. Before it is overwritten its sequence becomes 0: a
 * reader that copies it there looks afterwards whether it is still the same.
 * While it is filled it is zero behind its last record,
 * and the first word of a record is written last (release): there a reader
 * ends. A closed one says how long it is; a zero among its records is an event
 * that a signal handler interrupted for long, and lost. A reader that meets a
 * gap in the sequence knows from `first_event` how many events it lacks.
 */
struct wire_batch {
    uint32_t magic;
    uint16_t version;
    uint16_t used_bytes; /* of the whole batch; 0: it is being filled */
    uint32_t buffer;
    uint32_t tid;
    uint64_t sequence;
    uint64_t first_event; /* how many this buffer carried before this batch */
};

static_assert(sizeof(struct wire_batch) == 32, "a packed layout");

/* ---- records ----------------------------------------------------------- */

/*
 * WIRE_RECORDS(X): X(NAME, name) for each kind. A stamp orders the events of
 * one process across its threads: a death is stamped before the real call, a
 * birth after it. Arrival order means nothing.
 */
#define WIRE_RECORDS(X) \
    X(MAP, map)         \
    X(UNMAP, unmap)     \
    X(REMAP, remap)     \
    X(BIRTH, birth)     \
    X(DEATH, death)     \
    X(THREAD, thread)   \
    X(PYTHON, python)   \
    X(GC, gc)           \
    X(SPAWN, spawn)     \
    X(END, end)         \
    X(TURN, turn)       \
    X(REVIVAL, revival) \
    X(FORK, fork)       \
    X(MODULE, module)   \
    X(STACK, stack)     \
    X(BLOCK, block)

enum wire_kind {
    WIRE_KIND_NONE,
#define X(NAME, name) WIRE_KIND_##NAME,
    WIRE_RECORDS(X)
#undef X
        WIRE_N_KINDS,
};

/* Every record starts so; n_bytes is its whole length, a multiple of 8. */
struct wire_record {
    uint16_t n_bytes;
    uint8_t zero; /* tells it from an event */
    uint8_t kind;
    uint32_t detail; /* per kind, 0 where nothing is said */
};

/*
 * At level exact the birth and the death of a block are a word among the
 * records, known by WIRE_EVENT:
 *
 *     21-63  address / 16
 *     20     1
 *     19     a death
 *     18     0
 *     6-17   (usable bytes + 8) / 16, which is glibc's chunk
 *     1-5    usable less asked bytes; of a death 0
 *     0      enum wire_caller
 *
 * so that few instructions make it of an address and a chunk's size. What does
 * not fit (large blocks, odd sizes, other allocators) is a BIRTH or a DEATH. Of
 * both the order within a buffer is the order of the thread's calls, and of two
 * buffers that of their turns.
 *
 * With bit 18 it is what CPython asked its object allocator for, or gave back:
 *
 *     17     address / 8 % 2
 *     6-12   usable bytes / 8, its size class; of a death 0
 *     1      of a death: it has moved, by a call that may have told of it
 *
 * Where malloc gave the block, that is told besides, and a reader goes by what
 * it knows to live at the address. A death comes before the real call, but of a
 * block that moved. Then the interpreter's lock keeps the order; only if moving
 * unmaps an arena, and a thread without that lock has a block in the same place
 * by then, a reader is told of its death.
 */
#define WIRE_EVENT ((uint64_t)1 << 20)
#define WIRE_EVENT_DEATH ((uint64_t)1 << 19)
#define WIRE_EVENT_OBJECT ((uint64_t)1 << 18)
#define WIRE_EVENT_OBJECT_ODD ((uint64_t)1 << 17)
#define WIRE_EVENT_OBJECT_MOVED ((uint64_t)1 << 1)

/* From so many usable bytes on a block is a BIRTH, a DEATH. */
#define WIRE_EVENT_LEAST_LONG (64u * 1024u)

enum {
    WIRE_EVENT_ADDR_SHIFT = 21,
    WIRE_EVENT_CHUNK_SHIFT = 6,
    WIRE_EVENT_SLACK_SHIFT = 1,
    WIRE_EVENT_MOST_CHUNKS = (1 << 12) - 1,
    WIRE_EVENT_MOST_CLASSES = (1 << 7) - 1,
    WIRE_EVENT_MOST_SLACK = (1 << 5) - 1,
    WIRE_EVENT_GRAIN = 16,
};

/*
 * By its first word: all are events, whose loss is counted, but what a thread
 * says of itself and what only gives names to others.
 */
static inline bool
wire_is_event(uint64_t word)
{
    const uint64_t kind = word >> 24 & 0xff;
    return (word & WIRE_EVENT) != 0 ||
           (kind != WIRE_KIND_TURN && kind != WIRE_KIND_THREAD &&
            kind != WIRE_KIND_MODULE && kind != WIRE_KIND_STACK);
}

static inline bool
wire_event_fits(uint64_t addr, uint64_t n_bytes, uint64_t asked_bytes)
{
    return addr % WIRE_EVENT_GRAIN == 0 && addr >> 47 == 0 &&
           n_bytes % WIRE_EVENT_GRAIN == 8 &&
           n_bytes + 8 < WIRE_EVENT_LEAST_LONG &&
           n_bytes - asked_bytes <= WIRE_EVENT_MOST_SLACK;
}

/* Half of an event: twice that, and the caller. kind: 0 or WIRE_EVENT_DEATH. */
static inline __attribute__((always_inline)) uint64_t
wire_event_half(uint64_t addr, uint64_t chunk_bytes, uint64_t slack,
                uint64_t kind)
{
    return (addr << 16) + (WIRE_EVENT | kind) / 2 + (slack + chunk_bytes * 2);
}

/* Of a death asked_bytes is n_bytes. */
static inline uint64_t
wire_event(uint64_t addr, uint64_t n_bytes, uint64_t asked_bytes,
           enum wire_caller caller)
{
    return 2 * wire_event_half(addr, n_bytes + 8, n_bytes - asked_bytes, 0) +
           (caller == WIRE_CALLER_PYTHON);
}

static inline uint64_t
wire_event_addr(uint64_t event)
{
    return (event >> WIRE_EVENT_ADDR_SHIFT) * WIRE_EVENT_GRAIN;
}

static inline uint64_t
wire_event_bytes(uint64_t event)
{
    return (event >> WIRE_EVENT_CHUNK_SHIFT & WIRE_EVENT_MOST_CHUNKS) *
               WIRE_EVENT_GRAIN -
           8;
}

static inline uint64_t
wire_event_slack(uint64_t event)
{
    return event >> WIRE_EVENT_SLACK_SHIFT & WIRE_EVENT_MOST_SLACK;
}

/* One of the object allocator's; of a death both sizes are 0. */
static inline uint64_t
wire_object(uint64_t addr, uint64_t n_bytes, uint64_t asked_bytes)
{
    return addr / WIRE_EVENT_GRAIN << WIRE_EVENT_ADDR_SHIFT | WIRE_EVENT |
           WIRE_EVENT_OBJECT |
           (addr % WIRE_EVENT_GRAIN == 0 ? 0 : WIRE_EVENT_OBJECT_ODD) |
           n_bytes / 8 << WIRE_EVENT_CHUNK_SHIFT |
           (n_bytes - asked_bytes) << WIRE_EVENT_SLACK_SHIFT |
           WIRE_CALLER_PYTHON;
}

static inline enum wire_caller
wire_event_caller(uint64_t event)
{
    return (enum wire_caller)(event & 1);
}

/* mmap gave [addr, addr + n_bytes); detail: MAP_* flags. */
struct wire_map {
    struct wire_record record;
    uint64_t stamp;
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t caller; /* where it returns to */
    uint32_t protection;
    int32_t fd;
};

struct wire_unmap {
    struct wire_record record;
    uint64_t stamp;
    uint64_t addr;
    uint64_t n_bytes;
};

/* mremap: one death and one birth; detail: MREMAP_* flags. */
struct wire_remap {
    struct wire_record record;
    uint64_t death_stamp;
    uint64_t stamp;
    uint64_t old_addr;
    uint64_t old_bytes;
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t caller;
};

/*
 * A block of WIRE_LARGE_BYTES or more, at level exact of WIRE_EVENT_LEAST_LONG,
 * or one of any size that glibc made a mapping of its own; or with
 * WIRE_IS_SAMPLE one of a Poisson sample of all others, of which a block of n
 * usable bytes is with probability 1 - exp(-n / sample_bytes). Detail: enum
 * wire_caller, and from bit 8 on the number of its stack, 0: none.
 */
struct wire_birth {
    struct wire_record record;
    uint64_t stamp;
    uint64_t addr;
    uint64_t n_bytes;
    uint64_t asked_bytes;
    uint64_t caller;
};

/* Detail: WIRE_IS_SAMPLE if its birth was one of the sample. */
struct wire_death {
    struct wire_record record;
    uint64_t stamp;
    uint64_t addr;
    uint64_t n_bytes;
};

/*
 * Either a thread's own word at its first event: its control block, which lies
 * at the top of its stack; or its creator's before it starts: the stack that
 * the program supplies for it. What is not said is 0.
 */
struct wire_thread {
    struct wire_record record;
    uint64_t control_block;
    uint64_t stack_start;
    uint64_t stack_bytes;
};

enum wire_python_flag {
    WIRE_PYTHON_IS_SEEDED = 1 << 0,     /* seed was read */
    WIRE_PYTHON_TELLS_OBJECTS = 1 << 1, /* all of its allocator's blocks are */
};

/* gc.get_stats() when our callback came in; detail: enum wire_python_flag. */
struct wire_python {
    struct wire_record record;
    uint64_t since_ns;
    struct {
        uint64_t collections;
        uint64_t collected;
        uint64_t uncollectable;
    } seed[3];
};

/*
 * One collection; detail: its generation. Mappings with a stamp up to the first
 * were made, or gone, when it started; up to the second, when it ended.
 */
struct wire_gc {
    struct wire_record record;
    uint64_t started_ns;
    uint64_t pause_ns;
    uint64_t collected;
    uint64_t uncollectable;
    uint64_t start_stamp;
    uint64_t end_stamp;
    uint64_t rss_before; /* 0: not known */
    uint64_t rss_after;
};

/* This process, or a child of it, runs a new image; detail: 1 if followed. */
struct wire_spawn {
    struct wire_record record;
    int32_t pid; /* 0: this process itself, by exec */
    uint32_t reserved;
};

enum wire_end_reason {
    WIRE_END_FINALIZATION, /* the collection that Py_FinalizeEx runs starts */
    WIRE_END_PY_FINALIZE,  /* Py_Finalize[Ex] was called */
    WIRE_END_EXEC,
    WIRE_END_EXIT_NOW, /* _exit, _Exit, quick_exit */
    WIRE_END_ATEXIT,
};

/* Detail: enum wire_end_reason. */
struct wire_end {
    struct wire_record record;
    uint64_t at_ns;
    uint32_t ticket;     /* 0: nobody waits, take no census */
    int32_t exit_status; /* -1: not known here */
};

/*
 * The thread's blocks from here on come after those of smaller turns, of all
 * threads. Whoever tells of a block takes a turn if another has taken one since
 * its own; while a process has had one thread only, there is none.
 */
struct wire_turn {
    struct wire_record record;
    uint64_t turn;
};

/* At level exact: a fork comes. A child that says this number had all this. */
struct wire_fork {
    struct wire_record record;
    uint64_t number;
};

/*
 * At level exact: the block whose death was told last by this thread lives on,
 * because realloc could not move it; detail: enum wire_caller.
 */
struct wire_revival {
    struct wire_record record;
    uint64_t stamp;
    uint64_t addr;
    uint64_t n_bytes;
};

/*
 * An image that stacks pass through, before the first that does; detail: how
 * long its path is, which follows without a NUL, zeroes up to the record's end.
 * An address less `bias` is one of the file's own. One that was told before is
 * replaced where they overlap. A child after fork has what its parent had told.
 */
struct wire_module {
    struct wire_record record;
    uint64_t start;
    uint64_t end;
    uint64_t bias;
    uint8_t build_id[WIRE_BUILD_ID_BYTES];
    uint8_t build_id_bytes; /* 0: it has none */
    uint8_t zeroes[3];
    char path[];
};

/*
 * A stack and its number (detail), before or after the first block that names
 * it; the same one may come more than once. Frames are return addresses, the
 * innermost first, as many as the record is long. The last is 0 where there are
 * more, or where the way out is not known. Numbers are a process' own; a child
 * after fork goes on with its parent's.
 */
struct wire_stack {
    struct wire_record record;
    uint64_t frames[];
};

/* A birth in one word (WIRE_EVENT); detail: its stack's number, 0: none. */
struct wire_block {
    struct wire_record record;
    uint64_t event;
};

static_assert(WIRE_CALLER_PYTHON == 1, "a bit of an event");
static_assert(sizeof(struct wire_record) == 8, "a packed layout");
static_assert(sizeof(struct wire_map) == 48, "a packed layout");
static_assert(sizeof(struct wire_unmap) == 32, "a packed layout");
static_assert(sizeof(struct wire_remap) == 64, "a packed layout");
static_assert(sizeof(struct wire_birth) == 48, "a packed layout");
static_assert(sizeof(struct wire_death) == 32, "a packed layout");
static_assert(sizeof(struct wire_thread) == 32, "a packed layout");
static_assert(sizeof(struct wire_python) == 88, "a packed layout");
static_assert(sizeof(struct wire_gc) == 72, "a packed layout");
static_assert(sizeof(struct wire_spawn) == 16, "a packed layout");
static_assert(sizeof(struct wire_end) == 24, "a packed layout");
static_assert(sizeof(struct wire_turn) == 16, "a packed layout");
static_assert(sizeof(struct wire_module) == 56, "a packed layout");
static_assert(sizeof(struct wire_block) == 16, "a packed layout");

#endif
