/*
 * recording.h - the file: one SQLite database a run
 *
 * Written by residued alone while it is live (WAL), one self-contained file
 * afterwards. `meta.sealed` says which: 0 while it is written, and for ever if
 * its collector was killed; such a file holds all that was committed.
 *
 * Version rule: `user_version` grows when an old reader would be wrong about a
 * new file. Readers take RECORDING_OLDEST to RECORDING_VERSION and refuse the
 * rest. The views and the table `finding` are the public face; other tables may
 * change with any version.
 *
 * Units: bytes; times in microseconds since the recording began (`t_us`),
 * anchored by `clock`. NULL is unknown, never 0. Keys start with time, so that
 * rows are appended; rings (tick0, tick1, tick2, collection) reuse slots and
 * clear a slot before its reuse.
 *
 * The memory cgroup of a process, beside a census: what the whole group uses
 * (current); the least limit on the way up (max; null: none is visible); how
 * many processes the kernel's OOM killer has ended in it so far; and what its
 * use is made of: programs' own memory (anon; others: of that what is not this
 * process'), page cache, shared memory, the kernel's own.
 *
 * Events (`event.kind`): mark, malformed, gap, sealed, and
 *   oom-kill        the kernel's OOM killer ended the process: it was killed,
 *                   and its cgroup's count of such kills had just grown
 *   end-unread      at its end the process did not wait until it was read: the
 *                   census before stands for the end, if there was one
 *
 * Findings (DESIGN 8), in the order of their rules:
 *   cgroup-killed   the same; stands first, however small it is
 *   arena-pinning   pinned arenas: their held bytes; owner: the type that holds
 *                   most of them; after a single inspection those that are low,
 *                   with low confidence
 *   pool-holes      holes in pools of arenas that are not pinned
 *   heap-trimmable  whole free pages of malloc's heaps; what returns is what
 *                   malloc_trim(0) would give back
 *   heap-page-pinned   free bytes of malloc's heaps on pages with a live block
 *   never-returned-int, never-returned-float   2.7: room for dead ints, floats
 *   free-lists      dead objects that the interpreter keeps for reuse
 *   python-growth   live Python bytes that grew, and in the last half as well
 *   native-growth   resident bytes outside of Python's arenas that grew so;
 *                   owner: the module that mapped most of it, if that grew
 *   not-enough-evidence   no census, or one that says too little
 *   nothing-held    no other finding is worth 5 % of RSS and 4 MiB
 */
#ifndef INCLUDE_RECORDING_H
#define INCLUDE_RECORDING_H

#define RECORDING_APPLICATION_ID 0x72736475 /* "rsdu" */
#define RECORDING_VERSION 4
#define RECORDING_OLDEST 2
#define RECORDING_SCHEMA_NAME "residue.recording/4"

/* The ledger's causes (DESIGN 7), in the order in which the first match wins.
 */
#define RECORDING_CAUSES(X)  \
    X(profiler)              \
    X(stacks)                \
    X(image_private)         \
    X(file)                  \
    X(shmem)                 \
    X(python_never_returned) \
    X(python_live)           \
    X(python_holes)          \
    X(python_free_pools)     \
    X(python_overhead)       \
    X(python_large)          \
    X(native_live)           \
    X(native_overhead)       \
    X(native_free)           \
    X(mapped_anon)           \
    X(unexplained)

enum recording_cause {
#define X(name) CAUSE_##name,
    RECORDING_CAUSES(X)
#undef X
        N_CAUSES,
};

/* What a census was taken for; `kind` holds the word. */
#define RECORDING_CENSUS_KINDS(X) \
    X(start)                      \
    X(periodic)                   \
    X(peak)                       \
    X(mark)                       \
    X(end)

enum recording_census_kind {
#define X(name) CENSUS_##name,
    RECORDING_CENSUS_KINDS(X)
#undef X
        N_CENSUS_KINDS,
};

/* What claims a page (v_pages); `address` is that of the thing it names. */
#define RECORDING_PROOFS(X)                                                 \
    X(profiler)    /* the preload's image, memory or memfd: its mapping */  \
    X(stack)       /* the thread's control block, or the mapping [stack] */ \
    X(file)        /* the mapping of a file */                              \
    X(image)       /* the same, a page that was written to */               \
    X(bss)         /* the image whose headers say so: its first mapping */  \
    X(link_map)    /* what ld.so keeps of an image: its link map */         \
    X(shared)      /* the mapping */                                        \
    X(pool)        /* the pool */                                           \
    X(arena)       /* the arena: never carved, or outside of its pools */   \
    X(stack_chunk) /* of a data stack: the mapping */                       \
    X(heap)        /* the heap: its own head, or a fencepost */             \
    X(chunk)       /* the chunk, 16 bytes before its block */               \
    X(block27)     /* a PyIntBlock or PyFloatBlock: its chunk */            \
    X(mapping)     /* an anonymous mapping that was seen made */

enum recording_proof {
#define X(name) PROOF_##name,
    RECORDING_PROOFS(X)
#undef X
        N_PROOFS,
};

/* Heaps of glibc's malloc; mmapped chunks are one row. */
#define RECORDING_HEAP_KINDS(X) \
    X(main)                     \
    X(thread)                   \
    X(mmapped)

enum recording_heap_kind {
#define X(name) HEAP_##name,
    RECORDING_HEAP_KINDS(X)
#undef X
        N_HEAP_KINDS,
};

/*
 * Objects that are there once for all who use them: ints of -5 to 256 that the
 * interpreter made in its heap (in 3.6 to 3.8 and from 3.11 on they are in its
 * image: 0), interned strings, and those of them that it never lets go.
 */
#define RECORDING_SINGLES(X) \
    X(small_int)             \
    X(interned_str)          \
    X(immortal_str)

enum recording_single {
#define X(name) SINGLE_##name,
    RECORDING_SINGLES(X)
#undef X
        N_SINGLES,
};

/* Slots of the rings of ticks: 10 minutes, 6 hours, 8 days. */
enum {
    RECORDING_TICK_US = 100000,
    RECORDING_TICK0_SLOTS = 6000,
    RECORDING_TICK1_SLOTS = 21600,
    RECORDING_TICK1_TICKS = 10,
    RECORDING_TICK2_SLOTS = 69120,
    RECORDING_TICK2_TICKS = 100,
    RECORDING_COLLECTION_SLOTS = 20000,
    RECORDING_PERIODIC_KEPT = 600, /* censuses a process; then thinned */
};

#define RECORDING_TICK_COLUMNS                                               \
    " slot INTEGER NOT NULL,"                                                \
    " process INTEGER NOT NULL,"                                             \
    " t_us INTEGER NOT NULL,"                                                \
    " n INTEGER NOT NULL," /* ticks in this row */                           \
    " rss_min INTEGER, rss_max INTEGER, rss_last INTEGER,"                   \
    " live_min INTEGER, live_max INTEGER, live_last INTEGER," /* malloc's */ \
    " arenas_min INTEGER, arenas_max INTEGER, arenas_last INTEGER,"          \
    " cgroup_min INTEGER, cgroup_max INTEGER, cgroup_last INTEGER,"          \
    " PRIMARY KEY (slot, process)) WITHOUT ROWID;"

#define RECORDING_LEDGER_COLUMN(cause) " " #cause " INTEGER,"

/* The tables, a macro each. */
#define RECORDING_TABLE_PROCESS                                            \
    "CREATE TABLE process ("                                               \
    " id INTEGER PRIMARY KEY," /* in order of start, CMD first */          \
    " pid INTEGER NOT NULL,"                                               \
    " ns_pid INTEGER, ppid INTEGER,"                                       \
    " parent INTEGER," /* its row, where the parent is here */             \
    " exe TEXT, command TEXT,"                                             \
    " python TEXT, level TEXT NOT NULL,"                                   \
    " start_us INTEGER NOT NULL, end_us INTEGER,"                          \
    " exit_status INTEGER," /* as a shell counts: 128 + signal */          \
    " note TEXT,"           /* why there is less than usual, or NULL */    \
    " vm_hwm_bytes INTEGER,"                                               \
    " births INTEGER, deaths INTEGER,"                                     \
    " live_blocks INTEGER, live_bytes INTEGER,"                            \
    " python_births INTEGER, python_deaths INTEGER,"                       \
    " lost_events INTEGER, lost_batches INTEGER,"                          \
    " census_cpu_us INTEGER, census_read_bytes INTEGER,"                   \
    " oom_kills INTEGER,"      /* in its cgroup, when it was last there */ \
    " shares_cgroup INTEGER);" /* 1: the collector is in its cgroup */

/*
 * Types of a census, in bounded space: of more than so many those that take and
 * hold least are one row. Where it is there a name that is missing is of a type
 * that may be in it; where it is not, and has_types is 1, there was none (to
 * version 3 there is no such row). A row takes some 50 bytes: the censuses that
 * are kept of a process' periodic ones have 30 MB of them at most.
 */
enum { RECORDING_MOST_TYPES = 1024 };
#define RECORDING_TYPE_OTHER "(other)"

#define RECORDING_LEDGER_COLUMNS RECORDING_CAUSES(RECORDING_LEDGER_COLUMN)

#define RECORDING_CGROUP_COLUMNS                                             \
    " collector_rss_bytes INTEGER,"                                          \
    " cgroup_current INTEGER, cgroup_max INTEGER, cgroup_oom_kills INTEGER," \
    " cgroup_anon INTEGER, cgroup_file INTEGER, cgroup_shmem INTEGER,"       \
    " cgroup_kernel INTEGER, cgroup_others INTEGER,"

#define RECORDING_MALLOC_COLUMNS                                         \
    " python_large_error INTEGER," /* of native_live: may be either's */ \
    " heap_live INTEGER,"          /* blocks in use, resident or not */  \
    " heap_trimmable INTEGER, heap_page_pinned INTEGER,"                 \
    " trim_gain INTEGER," /* what malloc_trim(0) would give back */

#define RECORDING_ARENA_COLUMNS                                     \
    " arenas INTEGER, arena_bytes INTEGER, arena_resident INTEGER," \
    " arena_live INTEGER, arena_held INTEGER,"                      \
    " arenas_pinned INTEGER, arenas_empty INTEGER,"                 \
    " pinned_held INTEGER, pinned_resident INTEGER,"                \
    " pinned_holes INTEGER, pinned_blocks INTEGER, pinned_live INTEGER"

#define RECORDING_TABLE_CENSUS                                             \
    "CREATE TABLE census ("                                                \
    " id INTEGER PRIMARY KEY,"                                             \
    " process INTEGER NOT NULL, t_us INTEGER NOT NULL,"                    \
    " image INTEGER NOT NULL," /* how many execs were before */            \
    " kind TEXT NOT NULL, label TEXT,"                                     \
    " ordinal INTEGER," /* among the periodic ones */                      \
    " rss_bytes INTEGER NOT NULL, skew_bytes INTEGER,"                     \
    " vm_hwm_bytes INTEGER, swap_bytes INTEGER, in_swap_bytes INTEGER,"    \
    " anon_huge_bytes INTEGER,"                                            \
    " hugetlb_bytes INTEGER,"          /* besides rss_bytes */             \
    " torn INTEGER NOT NULL,"          /* pools, and heaps given up */     \
    " has_types INTEGER NOT NULL,"     /* types are complete */            \
    " has_low_types INTEGER NOT NULL," /* those of low arenas are */       \
    " types_part REAL," /* of the other arenas, that types are of */       \
    " cpu_us INTEGER, took_us INTEGER, read_bytes "                        \
    "INTEGER," RECORDING_CGROUP_COLUMNS " births INTEGER, deaths INTEGER," \
    " live_blocks INTEGER, live_bytes INTEGER," RECORDING_LEDGER_COLUMNS   \
        RECORDING_MALLOC_COLUMNS RECORDING_ARENA_COLUMNS ");"

/* What goes with one census; all keyed by it. */
#define RECORDING_TABLES_OF_PYTHON                                       \
    "CREATE TABLE class ("                                               \
    " census INTEGER NOT NULL, size INTEGER NOT NULL,"                   \
    " pools INTEGER, used INTEGER, free INTEGER,"                        \
    " PRIMARY KEY (census, size)) WITHOUT ROWID;"                        \
    "CREATE TABLE arena ("                                               \
    " census INTEGER NOT NULL, address INTEGER NOT NULL,"                \
    " bytes INTEGER, resident_bytes INTEGER, live_bytes INTEGER,"        \
    " hole_bytes INTEGER,"                                               \
    " pools INTEGER, free_pools INTEGER, used_blocks INTEGER,"           \
    " pinned INTEGER, born_us INTEGER,"                                  \
    " PRIMARY KEY (census, address)) WITHOUT ROWID;"                     \
    "CREATE TABLE type ("                                                \
    " census INTEGER NOT NULL, name TEXT NOT NULL,"                      \
    " count INTEGER, bytes INTEGER,"                                     \
    " count_error INTEGER, bytes_error INTEGER," /* NULL: exact */       \
    " held_exclusive INTEGER, held_split INTEGER,"                       \
    " exclusive_bytes INTEGER," /* live in arenas that it holds alone */ \
    " pinned_exclusive INTEGER, pinned_split INTEGER,"                   \
    " pinned_bytes INTEGER," /* its live bytes in pinned arenas */       \
    " pinned_count INTEGER,"                                             \
    " PRIMARY KEY (census, name)) WITHOUT ROWID;"                        \
    "CREATE TABLE low_type (" /* in low arenas, at a first look */       \
    " census INTEGER NOT NULL, name TEXT NOT NULL,"                      \
    " count INTEGER, bytes INTEGER, held INTEGER,"                       \
    " PRIMARY KEY (census, name)) WITHOUT ROWID;"

/*
 * What an interpreter keeps for reuse: 2.7's blocks of ints and floats, and the
 * free lists, one row each that is known, empty ones too. In the view `bytes`
 * are those that are not given back, `count` how many dead objects. A block is
 * pinned if one object alone keeps it, and empty if none does: the next full
 * collection gives it back. Files of before have neither column.
 *
 * v_blocks27 has the blocks over time, with how many were given back since the
 * census before, which 2.7 does at the end of a full collection alone. That is
 * by how much they became fewer: at least so many, if others were made.
 *
 * A single is counted by what it says of itself, in arenas and, 2.7's ints, in
 * blocks; what is larger than 512 bytes is not. A census that has not read all
 * types has no row of what it would have to count for it.
 */
#define RECORDING_NEVER_RETURNED_COLUMNS \
    "SELECT c.process, c.t_us, c.kind, c.label, x.census, x.name,"
#define RECORDING_NEVER_RETURNED                                        \
    "CREATE TABLE block27 ("                                            \
    " census INTEGER NOT NULL, name TEXT NOT NULL," /* of the type */   \
    " blocks INTEGER, reserved_bytes INTEGER, live_bytes INTEGER,"      \
    " free_slots INTEGER, free_bytes INTEGER,"                          \
    " pinned_blocks INTEGER, empty_blocks INTEGER,"                     \
    " PRIMARY KEY (census, name)) WITHOUT ROWID;"                       \
    "CREATE TABLE free_list ("                                          \
    " census INTEGER NOT NULL, name TEXT NOT NULL,"                     \
    " count INTEGER, bytes INTEGER,"                                    \
    " PRIMARY KEY (census, name)) WITHOUT ROWID;"                       \
    "CREATE TABLE single ("                                             \
    " census INTEGER NOT NULL, name TEXT NOT NULL,"                     \
    " count INTEGER, bytes INTEGER,"                                    \
    " PRIMARY KEY (census, name)) WITHOUT ROWID;"                       \
    "CREATE VIEW v_never_returned AS " RECORDING_NEVER_RETURNED_COLUMNS \
    " 'block' AS what, x.free_slots AS count, x.free_bytes AS bytes,"   \
    " x.blocks, x.reserved_bytes, x.live_bytes,"                        \
    " x.pinned_blocks, x.empty_blocks"                                  \
    " FROM block27 x JOIN census c ON c.id = x.census"                  \
    " UNION ALL " RECORDING_NEVER_RETURNED_COLUMNS                      \
    " 'free list', x.count, x.bytes, NULL, NULL, NULL, NULL, NULL"      \
    " FROM free_list x JOIN census c ON c.id = x.census;"               \
    "CREATE VIEW v_blocks27 AS SELECT c.process, c.t_us, c.kind,"       \
    " c.label, x.census, x.name, x.blocks, x.live_bytes / 24 AS live,"  \
    " x.free_slots, x.pinned_blocks, x.empty_blocks,"                   \
    " max(0, lag(x.blocks) OVER (PARTITION BY c.process, c.image,"      \
    " x.name ORDER BY c.t_us, c.id) - x.blocks) AS given_back_blocks"   \
    " FROM block27 x JOIN census c ON c.id = x.census;"                 \
    "CREATE VIEW v_singles AS SELECT c.process, c.t_us, c.kind,"        \
    " c.label, x.* FROM single x JOIN census c ON c.id = x.census;"

/*
 * The collector of cycles. Of the oldest generation: how many objects the last
 * full collection has left in it, and how many were promoted to it since; the
 * next full one waits until they are a quarter of those.
 */
#define RECORDING_TABLE_GENERATION                                            \
    "CREATE TABLE generation ("                                               \
    " census INTEGER NOT NULL, generation INTEGER NOT NULL,"                  \
    " threshold INTEGER, count INTEGER,"                                      \
    " survivors INTEGER, promoted INTEGER,"                                   \
    " PRIMARY KEY (census, generation)) WITHOUT ROWID;"                       \
    "CREATE VIEW v_generations AS SELECT c.process, c.t_us, c.kind, c.label," \
    " x.* FROM generation x JOIN census c ON c.id = x.census;"

/*
 * At level exact: the blocks of CPython's object allocator, as they were told.
 * Births and deaths are the image's own. What a census of a mark found in use
 * is compared with what was told of up to then, address by address and size by
 * size: at a quiet moment neither has one that the other lacks. An orphan is a
 * death of what nobody told of. No row: nobody told of objects.
 */
#define RECORDING_TABLE_OBJECT                                            \
    "CREATE TABLE object ("                                               \
    " census INTEGER PRIMARY KEY,"                                        \
    " births INTEGER, deaths INTEGER,"                                    \
    " live_blocks INTEGER, live_bytes INTEGER, orphans INTEGER,"          \
    " found_blocks INTEGER, only_told INTEGER, only_found INTEGER);"      \
    "CREATE VIEW v_objects AS SELECT c.process, c.t_us, c.kind, c.label," \
    " x.* FROM object x JOIN census c ON c.id = x.census;"

#define RECORDING_TABLES_OF_MALLOC                                  \
    "CREATE TABLE heap ("                                           \
    " census INTEGER NOT NULL,"                                     \
    " address INTEGER," /* NULL: all mmapped chunks */              \
    " kind TEXT NOT NULL,"                                          \
    " bytes INTEGER, resident_bytes INTEGER,"                       \
    " chunks INTEGER, live_bytes INTEGER,"                          \
    " free_chunks INTEGER, free_bytes INTEGER,"                     \
    " cached_chunks INTEGER, cached_bytes INTEGER,"                 \
    " trimmable_bytes INTEGER, page_pinned_bytes INTEGER,"          \
    " trim_gain_bytes INTEGER,"                                     \
    " torn INTEGER,"     /* how often it was read again */          \
    " is_torn INTEGER);" /* and not read to its end */              \
    "CREATE INDEX heap_census ON heap (census);"                    \
    "CREATE TABLE mapping (" /* anonymous ones, by who made them */ \
    " census INTEGER NOT NULL, module TEXT NOT NULL,"               \
    " count INTEGER, bytes INTEGER, resident_bytes INTEGER,"        \
    " PRIMARY KEY (census, module)) WITHOUT ROWID;"

/*
 * Sites: stacks of frames that blocks were born with, each kept once for all
 * processes. A frame is a return address, as its module's file counts; without
 * a module it is the address itself. Names come when the recording ends: of the
 * functions that were inlined there the innermost is inline 0, the one that the
 * code belongs to the last. `is_cut`: there are more frames, or the way out was
 * not known.
 *
 * A use is what a site's blocks add up to in one process: beside each census
 * that is not periodic, save that of the peaks only the highest keeps its uses;
 * and, with census 0, when all that the process' latest image told was drained.
 * alloc_* are births since that image began, or forked; live ones may be older.
 * Site 0 are the blocks whose stack is not known, -1 those of the sites that
 * are too many, which have least. An error is one standard error of an
 * estimate; null: the figure is exact.
 */
enum {
    RECORDING_SITE_UNKNOWN = 0,
    RECORDING_SITE_OTHER = -1,
    RECORDING_MOST_USES = 4096, /* of a process at one moment */
};

#define RECORDING_TABLES_OF_SITES                                    \
    "CREATE TABLE module ("                                          \
    " id INTEGER PRIMARY KEY, path TEXT, build_id TEXT);"            \
    "CREATE TABLE frame ("                                           \
    " id INTEGER PRIMARY KEY, module INTEGER, offset INTEGER);"      \
    "CREATE TABLE frame_name ("                                      \
    " frame INTEGER NOT NULL, inline INTEGER NOT NULL,"              \
    " function TEXT, file TEXT, line INTEGER,"                       \
    " PRIMARY KEY (frame, inline)) WITHOUT ROWID;"                   \
    "CREATE TABLE site ("                                            \
    " id INTEGER PRIMARY KEY, kind TEXT NOT NULL, is_cut INTEGER);"  \
    "CREATE TABLE site_frame ("                                      \
    " site INTEGER NOT NULL, depth INTEGER NOT NULL, frame INTEGER," \
    " PRIMARY KEY (site, depth)) WITHOUT ROWID;"                     \
    "CREATE TABLE site_use ("                                        \
    " census INTEGER NOT NULL, process INTEGER NOT NULL,"            \
    " site INTEGER NOT NULL,"                                        \
    " live_blocks INTEGER, live_bytes INTEGER,"                      \
    " alloc_blocks INTEGER, alloc_bytes INTEGER,"                    \
    " live_blocks_error INTEGER, live_bytes_error INTEGER,"          \
    " alloc_blocks_error INTEGER, alloc_bytes_error INTEGER,"        \
    " PRIMARY KEY (census, process, site)) WITHOUT ROWID;"

/* What v_frames shows, for who may not trust a file's views. */
#define RECORDING_FRAMES                                            \
    "SELECT x.site, x.depth,"                                       \
    " coalesce(n.inline, 0) AS inline, n.function, n.file, n.line," \
    " m.path AS module, m.build_id, f.offset"                       \
    " FROM site_frame x LEFT JOIN frame f ON f.id = x.frame"        \
    " LEFT JOIN module m ON m.id = f.module"                        \
    " LEFT JOIN frame_name n ON n.frame = x.frame"

/*
 * v_sites: the uses, with the moment they are of; kind `drained` is census 0.
 * v_frames: a row for each function of each frame, innermost first by depth and
 * inline; function, file and line are null where they are not known.
 */
#define RECORDING_VIEWS_OF_SITES                                       \
    "CREATE VIEW v_sites AS SELECT u.process,"                         \
    " coalesce(c.t_us, p.end_us) AS t_us,"                             \
    " coalesce(c.kind, 'drained') AS kind, c.label, u.census, u.site," \
    " coalesce(s.kind, 'native') AS site_kind, s.is_cut,"              \
    " u.live_blocks, u.live_bytes, u.alloc_blocks, u.alloc_bytes,"     \
    " u.live_blocks_error, u.live_bytes_error,"                        \
    " u.alloc_blocks_error, u.alloc_bytes_error"                       \
    " FROM site_use u LEFT JOIN census c ON c.id = u.census"           \
    " LEFT JOIN process p ON p.id = u.process"                         \
    " LEFT JOIN site s ON s.id = u.site;"                              \
    "CREATE VIEW v_frames AS " RECORDING_FRAMES ";"

/* Censuses of marks keep the proof of each page. */
#define RECORDING_TABLE_PROOF                             \
    "CREATE TABLE proof ("                                \
    " census INTEGER NOT NULL,"                           \
    " start INTEGER NOT NULL, \"end\" INTEGER NOT NULL,"  \
    " n_bytes INTEGER NOT NULL," /* those of the cause */ \
    " cause TEXT NOT NULL, proof TEXT, address INTEGER);" \
    "CREATE INDEX proof_census ON proof (census, start);"

#define RECORDING_TABLES_OF_TIME                                      \
    "CREATE TABLE clock ("                                            \
    " t_us INTEGER PRIMARY KEY,"                                      \
    " monotonic_ns INTEGER, boot_ns INTEGER, wall_unix_ns INTEGER);"  \
    "CREATE TABLE tick0 (" RECORDING_TICK_COLUMNS                     \
    "CREATE TABLE tick1 (" RECORDING_TICK_COLUMNS                     \
    "CREATE TABLE tick2 (" RECORDING_TICK_COLUMNS "CREATE TABLE gc (" \
    " process INTEGER NOT NULL, generation INTEGER NOT NULL,"         \
    " collections INTEGER, collected INTEGER, uncollectable INTEGER," \
    " pause_us_total INTEGER, pause_us_max INTEGER,"                  \
    " pauses_since_us INTEGER,"                                       \
    " PRIMARY KEY (process, generation)) WITHOUT ROWID;"              \
    "CREATE TABLE collection ("                                       \
    " slot INTEGER PRIMARY KEY," /* a ring */                         \
    " t_us INTEGER NOT NULL, process INTEGER NOT NULL,"               \
    " generation INTEGER, pause_us INTEGER,"                          \
    " collected INTEGER, uncollectable INTEGER,"                      \
    " arenas_before INTEGER, arenas_after INTEGER," /* mapped ones */ \
    " rss_before INTEGER, rss_after INTEGER);"                        \
    "CREATE TABLE event ("                                            \
    " t_us INTEGER NOT NULL, process INTEGER,"                        \
    " kind TEXT NOT NULL, text TEXT);"

#define RECORDING_TABLE_FINDING                                \
    "CREATE TABLE finding ("                                   \
    " rank INTEGER PRIMARY KEY, process INTEGER,"              \
    " id TEXT NOT NULL, bytes INTEGER, returns_bytes INTEGER," \
    " owner TEXT, score INTEGER, confidence TEXT,"             \
    " sentence TEXT, evidence TEXT, action TEXT);"

/* ---- views ------------------------------------------------------------- */

#define RECORDING_LEDGER_ROW(cause)              \
    " UNION ALL SELECT id, process, t_us, kind," \
    " label, '" #cause "', " #cause " FROM census"

#define RECORDING_LEDGER_ROWS RECORDING_CAUSES(RECORDING_LEDGER_ROW)

/* A table of a census with the moment it is of. */
#define RECORDING_VIEW(name, columns, table)                             \
    "CREATE VIEW " name " AS SELECT c.process, c.t_us, c.kind, c.label," \
    " " columns " FROM " table " x JOIN census c ON c.id = x.census;"

#define RECORDING_VIEWS_OF_CENSUSES                                           \
    "CREATE VIEW v_censuses AS SELECT * FROM census;"                         \
    "CREATE VIEW v_ledger AS SELECT id AS census, process, t_us, kind,"       \
    " label, '' AS cause, 0 AS bytes FROM census"                             \
    " WHERE 0" RECORDING_LEDGER_ROWS                                          \
    ";" RECORDING_VIEW("v_classes", "x.*", "class")                           \
        RECORDING_VIEW("v_arenas",                                            \
                       "x.*, CASE WHEN x.used_blocks > 0"                     \
                       " THEN x.resident_bytes - x.live_bytes END"            \
                       " AS held_bytes",                                      \
                       "arena") RECORDING_VIEW("v_types", "x.*", "type")      \
            RECORDING_VIEW("v_heaps",                                         \
                           "x.census, x.address, x.kind AS heap, x.bytes,"    \
                           " x.resident_bytes, x.chunks, x.live_bytes,"       \
                           " x.free_chunks, x.free_bytes, x.cached_chunks,"   \
                           " x.cached_bytes, x.trimmable_bytes,"              \
                           " x.page_pinned_bytes, x.trim_gain_bytes, x.torn," \
                           " x.is_torn",                                      \
                           "heap")                                            \
                RECORDING_VIEW("v_mappings", "x.*", "mapping")

/*
 * v_pages: each page of a mark's census, once for each cause that has bytes on
 * it. The bytes are those of the whole stretch from start to end.
 */
#define RECORDING_VIEW_OF_PAGES                                        \
    "CREATE VIEW v_pages AS WITH RECURSIVE piece AS ("                 \
    " SELECT *, start / 4096 * 4096 AS page FROM proof"                \
    " UNION ALL SELECT census, start, \"end\", n_bytes, cause, proof," \
    " address, page + 4096 FROM piece WHERE page + 4096 < \"end\")"    \
    " SELECT census, page, cause, proof, address, start, \"end\","     \
    " n_bytes FROM piece;"

#define RECORDING_VIEWS_OF_TIME                              \
    "CREATE VIEW v_processes AS SELECT * FROM process;"      \
    "CREATE VIEW v_gc AS SELECT * FROM gc;"                  \
    "CREATE VIEW v_collections AS SELECT * FROM collection;" \
    "CREATE VIEW v_timeline AS"                              \
    " SELECT 2 AS tier, * FROM tick2 UNION ALL"              \
    " SELECT 1 AS tier, * FROM tick1 UNION ALL"              \
    " SELECT 0 AS tier, * FROM tick0;"

#define RECORDING_SCHEMA                                                   \
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT "             \
    "ROWID;" RECORDING_TABLE_PROCESS RECORDING_TABLES_OF_TIME              \
        RECORDING_TABLE_CENSUS RECORDING_TABLES_OF_PYTHON                  \
            RECORDING_TABLE_OBJECT RECORDING_TABLES_OF_MALLOC              \
                RECORDING_TABLE_PROOF RECORDING_TABLES_OF_SITES            \
                    RECORDING_VIEWS_OF_SITES RECORDING_NEVER_RETURNED      \
                        RECORDING_TABLE_GENERATION RECORDING_TABLE_FINDING \
                            RECORDING_VIEWS_OF_CENSUSES                    \
                                RECORDING_VIEW_OF_PAGES                    \
                                    RECORDING_VIEWS_OF_TIME

#endif
