/*
 * query.h - a recording, read
 *
 * The only SQL of this folder. Everything that shows something reads through
 * here, a live recording as well as a finished one.
 *
 * Errors are sticky: after the first one every function gives nothing, and
 * query_complaint says what was wrong. A verb asks before it prints.
 */
#ifndef REPORT_QUERY_QUERY_H
#define REPORT_QUERY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/recording.h"

struct query;

#define QUERY_UNKNOWN                                      \
    INT64_MIN /* a number that the recording does not have \
               */

static inline int64_t
query_known(int64_t number)
{
    return number == QUERY_UNKNOWN ? 0 : number;
}

/*
 * target is a path, path@MOMENT, or the pid of a traced process. Never NULL;
 * query_complaint tells whether it could be opened.
 */
struct query *query_open(const char *target);
void query_close(struct query *query);

/* Whether what went wrong is the file's content. */
bool query_is_damaged(const struct query *query);

/* Whether it is a recording that another version of residue wrote. */
bool query_is_of_other_version(const struct query *query);

/* NULL: all went well. Else one sentence: what, on what, what to try. */
const char *query_complaint(const struct query *query);

const char *query_path(const struct query *query);

/* What stood behind the '@', or "end". */
const char *query_moment(const struct query *query);

/* Whether a word means a moment in every recording: an end of it, or a time. */
bool query_is_moment_word(const char *word);

/* The pid it was opened by, or 0. */
int64_t query_pid(const struct query *query);

/* ---- the recording itself ---------------------------------------------- */

/* A value of meta; the caller frees it. NULL: not there, or null. */
char *query_meta(struct query *query, const char *key);
int64_t query_meta_number(struct query *query, const char *key);

/* Whether its writer finished it. A live one is not sealed either. */
bool query_is_sealed(struct query *query);

/* ---- processes --------------------------------------------------------- */

struct query_process {
    int64_t id;
    int64_t pid;
    int64_t ns_pid;
    int64_t ppid;
    char *exe; /* owned, like the next four; may be NULL */
    char *command;
    char *python;
    char *level;
    char *note;
    int64_t start_us;
    int64_t end_us;
    int64_t exit_status;
    int64_t vm_hwm_bytes;
    int64_t births;
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t lost_events;
    int64_t lost_batches;
    int64_t census_cpu_us;
    int64_t census_read_bytes;
    int64_t oom_kills;     /* in its cgroup, by its end */
    int64_t shares_cgroup; /* 1: with the collector */
};

/* In order of their start. The caller frees with query_free_processes. */
struct query_process *query_processes(struct query *query, size_t *n);
void query_free_processes(struct query_process *processes, size_t n);

struct query_census;

/*
 * Malloc's counters go with the moment: at the end they are all that was
 * drained, at any other those beside its census.
 */
void query_count_at(const struct query *query, struct query_process *process,
                    const struct query_census *census);

/* ---- censuses ---------------------------------------------------------- */

/* What a whole memory cgroup uses, and what of. */
struct query_cgroup {
    int64_t current;
    int64_t max; /* the least visible limit; unknown: there is none */
    int64_t oom_kills;
    int64_t anon; /* programs' own memory */
    int64_t file;
    int64_t shmem;
    int64_t kernel;
    int64_t others; /* of anon: of other processes */
};

struct query_census {
    int64_t id; /* 0: there is none */
    int64_t process;
    int64_t t_us;
    char kind[16];
    int64_t rss_bytes;
    int64_t skew_bytes;
    int64_t vm_hwm_bytes;
    int64_t swap_bytes;
    int64_t in_swap_bytes;
    int64_t anon_huge_bytes;
    int64_t hugetlb_bytes;
    int64_t torn;
    int64_t has_types;
    int64_t has_sample;    /* of types: they are estimates with an error */
    int64_t has_low_types; /* those of the arenas that are low, at least */
    int64_t live_bytes;    /* of malloc */
    int64_t live_blocks;
    int64_t births;
    int64_t deaths;
    int64_t ledger[N_CAUSES];
    int64_t python_large_error; /* of native_live, that may be either's */
    int64_t heap_live;          /* of malloc's blocks, resident or not */
    int64_t heap_trimmable;
    int64_t heap_page_pinned;
    int64_t trim_gain;
    int64_t arenas;
    int64_t arena_bytes;
    int64_t arena_resident;
    int64_t arena_live;
    int64_t arena_held;
    int64_t arenas_pinned;
    int64_t arenas_empty;
    int64_t pinned_held;
    int64_t pinned_resident;
    int64_t pinned_holes;
    int64_t pinned_blocks;
    int64_t pinned_live;
    struct query_cgroup cgroup; /* that the process was in */
    int64_t collector_rss_bytes;
};

/*
 * The census of a process at a moment: `start`, `peak`, `end`, a time
 * (`01:10.5`, seconds), or a mark's text. id 0: it has none then.
 */
struct query_census query_census_at(struct query *query, int64_t process,
                                    const char *moment);

/* All of a process, oldest first; the caller frees them. */
struct query_census *query_censuses(struct query *query, int64_t process,
                                    size_t *n);

/*
 * This census, if it has types or a sample of them; else the latest before it
 * whose types are complete.
 */
struct query_census query_census_with_types(struct query *query,
                                            const struct query_census *census);

/* Whether the text is a moment that this recording can have. */
bool query_is_moment(struct query *query, const char *moment);

/* ---- tables of a census ------------------------------------------------ */

struct query_class {
    int64_t size;
    int64_t pools;
    int64_t used;
    int64_t free;
};

struct query_class *query_classes(struct query *query, int64_t census,
                                  size_t *n);

struct query_type {
    char *name; /* owned */
    int64_t count;
    int64_t bytes;
    int64_t count_error; /* QUERY_UNKNOWN: it is exact */
    int64_t bytes_error;
    int64_t held_exclusive;
    int64_t held_split;
    int64_t exclusive_bytes; /* live in arenas that it holds alone */
    int64_t pinned_exclusive;
    int64_t pinned_split;
    int64_t pinned_bytes;
    int64_t pinned_count;
};

/* Most bytes first. */
struct query_type *query_types(struct query *query, int64_t census, size_t *n);
void query_free_types(struct query_type *types, size_t n);

struct query_heap {
    int64_t address; /* QUERY_UNKNOWN: all mmapped chunks */
    char kind[16];
    int64_t bytes;
    int64_t resident_bytes;
    int64_t chunks;
    int64_t live_bytes;
    int64_t free_chunks;
    int64_t free_bytes;
    int64_t cached_chunks;
    int64_t cached_bytes;
    int64_t trimmable_bytes;
    int64_t page_pinned_bytes;
    int64_t trim_gain_bytes;
    int64_t torn;
    int64_t is_torn;
};

struct query_heap *query_heaps(struct query *query, int64_t census, size_t *n);

struct query_module {
    char *name; /* owned */
    int64_t count;
    int64_t bytes;
    int64_t resident_bytes;
};

/* Most resident bytes first. */
struct query_module *query_modules(struct query *query, int64_t census,
                                   size_t *n);
void query_free_modules(struct query_module *modules, size_t n);

/*
 * Arenas of a census that are under 25 % and not empty, pinned or not; and the
 * types in them, those that hold most first. Only a first look at level inspect
 * has the latter: in others they are those of pinned arenas.
 */
struct query_low {
    int64_t arenas;
    int64_t held;
    int64_t resident;
    int64_t holes;
    int64_t blocks;
    int64_t live;
};

struct query_low query_low(struct query *query, int64_t census);
struct query_type *query_low_types(struct query *query, int64_t census,
                                   size_t *n);

struct query_blocks27 {
    char *name; /* owned: "int" or "float" */
    int64_t blocks;
    int64_t reserved_bytes;
    int64_t live_bytes;
    int64_t free_bytes;
    int64_t pinned_blocks; /* that one object alone keeps */
    int64_t empty_blocks;  /* that none does */
};

struct query_free_list {
    char *name; /* owned */
    int64_t count;
    int64_t bytes;
};

/* What a census saw of what an interpreter never returns. */
struct query_never_returned {
    struct query_blocks27 *blocks27;
    size_t n_blocks27;
    struct query_free_list *free_lists; /* most bytes first */
    size_t n_free_lists;
};

struct query_never_returned query_never_returned(struct query *query,
                                                 int64_t census);
void query_free_never_returned(struct query_never_returned *never);

struct query_single {
    int64_t count; /* unknown: the census did not read enough to count them */
    int64_t bytes;
};

/* Those of a census, by enum recording_single. */
struct query_singles {
    struct query_single all[N_SINGLES];
};

struct query_singles query_singles(struct query *query, int64_t census);

/* A function that a frame stands in; what is not known is NULL or unknown. */
struct query_frame {
    char *function; /* owned, like file and module */
    char *file;
    int64_t line;
    char *module;   /* its path; NULL: the offset is an address */
    int64_t offset; /* of the return address in the module's file */
};

struct query_site {
    int64_t id; /* RECORDING_SITE_* are none of one stack */
    char *kind; /* owned */
    int64_t is_cut;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t alloc_blocks;
    int64_t alloc_bytes;
    /* One standard error of each; QUERY_UNKNOWN: it is exact. */
    int64_t live_blocks_error;
    int64_t live_bytes_error;
    int64_t alloc_blocks_error;
    int64_t alloc_bytes_error;
    struct query_frame *frames; /* innermost first, inlined ones too */
    size_t n_frames;
};

/* Most live bytes first, then most allocated; is_known false: none were told.
 */
struct query_sites {
    struct query_site *sites;
    size_t n;
    bool is_known;
    int64_t t_us; /* of the moment; unknown: when all was drained */
};

/*
 * The sites of a process: at the end what was drained, at any other moment what
 * is beside its census or the latest before it that has them.
 */
struct query_sites query_sites(struct query *query, int64_t process,
                               const struct query_census *census);
void query_free_sites(struct query_sites *sites);

/* What a census saw of the collector of cycles. */
struct query_generation {
    int64_t threshold;
    int64_t count;
    int64_t survivors; /* of the oldest one alone, as the next */
    int64_t promoted;
};

/* By generation; none: a census that did not see them, or before they were. */
struct query_generation *query_generations(struct query *query, int64_t census,
                                           size_t *n);

/* What was told of the object allocator's blocks up to a census. */
struct query_objects {
    int64_t births; /* QUERY_UNKNOWN, as all others: nobody told of them */
    int64_t deaths;
    int64_t live_blocks;
    int64_t live_bytes;
    int64_t orphans;
    int64_t found_blocks; /* QUERY_UNKNOWN, as the next two: not compared */
    int64_t only_told;
    int64_t only_found;
};

struct query_objects query_objects(struct query *query, int64_t census);

struct query_gc {
    int64_t generation;
    int64_t collections;
    int64_t collected;
    int64_t uncollectable;
    int64_t pause_us_total;
    int64_t pause_us_max;
    int64_t pauses_since_us;
};

struct query_gc *query_gc(struct query *query, int64_t process, size_t *n);

/* ---- over time --------------------------------------------------------- */

struct query_tick {
    int64_t t_us;
    int64_t rss_min;
    int64_t rss_max;
    int64_t rss_last;
    int64_t cgroup_last; /* what its cgroup used */
};

/* The finest ticks there are for each part of a process' life. */
struct query_tick *query_ticks(struct query *query, int64_t process, size_t *n);

/* The latest one; all unknown: there is none. */
struct query_tick query_last_tick(struct query *query, int64_t process);

/* Objects of one type at a census. Where it was sampled they are estimates. */
struct query_population {
    int64_t t_us;
    int64_t took_us; /* in which the census read them */
    char kind[16];
    int64_t count; /* unknown: the census does not say; 0: there was none */
    int64_t bytes; /* of their blocks */
    int64_t count_error; /* unknown: it is exact */
    int64_t bytes_error;
};

/*
 * At each census of a process that read types, oldest first; 2.7's ints and
 * floats are those in its blocks. The caller frees it.
 */
struct query_population *query_population(struct query *query,
                                          const struct query_process *process,
                                          const char *type, size_t *n);

/* 2.7's blocks of ints or floats at one census. */
struct query_kept {
    int64_t t_us;
    struct query_blocks27 blocks;
    /* Since the census before, by how much they became fewer; unknown: there
     * was none. Full collections alone give blocks back. */
    int64_t given_back;
};

/* All of a process, by name, oldest first. */
struct query_kept *query_kept(struct query *query, int64_t process, size_t *n);
void query_free_kept(struct query_kept *kept, size_t n);

struct query_collection {
    int64_t t_us;
    int64_t generation;
    int64_t pause_us;
    int64_t collected;
    int64_t uncollectable;
    int64_t arenas_before; /* unknown in a recording of before they were kept */
    int64_t arenas_after;
    int64_t rss_before; /* of some collections */
    int64_t rss_after;
};

struct query_collection *query_collections(struct query *query, int64_t process,
                                           size_t *n);

/* The last of a generation that the recording kept. False: there is none. */
bool query_last_collection(struct query *query, int64_t process,
                           int64_t generation, struct query_collection *last);

/*
 * From when on each collection of all processes is a row: those before may have
 * lost their slot in the ring to later ones. INT64_MIN: none has.
 */
int64_t query_collections_since(struct query *query);

/* A census that has all types of a process, and when it read them. */
struct query_typed {
    int64_t census;
    int64_t start_us;
    int64_t end_us;
    int64_t image; /* how many execs were before */
    bool is_whole; /* nothing that it could not read, no types added up */
};

/* In order of their time; the caller frees them. */
struct query_typed *query_typed_censuses(struct query *query, int64_t process,
                                         size_t *n);

struct query_event {
    int64_t t_us;
    int64_t process;
    char *kind; /* owned */
    char *text; /* owned */
};

struct query_event *query_events(struct query *query, size_t *n);

/* Whether there is one of that kind about the process. */
bool query_has_event(struct query *query, int64_t process, const char *kind);
void query_free_events(struct query_event *events, size_t n);

/* ---- findings ---------------------------------------------------------- */

struct query_finding {
    int64_t process;
    const char *id;
    int64_t bytes;
    int64_t returns_bytes;
    const char *owner;
    int64_t score;
    const char *confidence;
    const char *sentence;
    const char *evidence;
    const char *action;
};

/*
 * Makes one self-contained file of a recording that nobody writes any more, and
 * writes the findings into it. False: query_complaint says why.
 */
bool query_seal(struct query *query, const struct query_finding *findings,
                size_t n);

/* ---- anything ---------------------------------------------------------- */

/*
 * Runs one statement that may only read. Calls row for each row, with the names
 * of the columns and the values as text (NULL: null). False: complaint.
 */
bool query_sql(struct query *query, const char *sql,
               void (*row)(void *context, int n, const char *const *names,
                           const char *const *values),
               void *context);

#endif
