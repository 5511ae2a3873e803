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
 * Findings (DESIGN 8), in the order of their rules:
 *   arena-pinning   pinned arenas: their held bytes; owner: the type that holds
 *                   most of them
 *   pool-holes      holes in pools of arenas that are not pinned
 *   python-growth   live Python bytes that grew, and in the last half as well
 *   native-growth   resident bytes outside of Python's arenas that grew so
 *   not-enough-evidence   no census, or one that says too little
 *   nothing-held    no other finding is worth 5 % of RSS and 4 MiB
 */
#ifndef INCLUDE_RECORDING_H
#define INCLUDE_RECORDING_H

#define RECORDING_APPLICATION_ID 0x72736475 /* "rsdu" */
#define RECORDING_VERSION 1
#define RECORDING_OLDEST 1
#define RECORDING_SCHEMA_NAME "residue.recording/1"

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
    " PRIMARY KEY (slot, process)) WITHOUT ROWID;"

#define RECORDING_LEDGER_COLUMN(cause) " " #cause " INTEGER,"

#define RECORDING_SCHEMA                                                       \
    "CREATE TABLE meta ("                                                      \
    " key TEXT PRIMARY KEY, value) WITHOUT ROWID;"                             \
    "CREATE TABLE process ("                                                   \
    " id INTEGER PRIMARY KEY," /* in order of start, CMD first */              \
    " pid INTEGER NOT NULL,"                                                   \
    " ns_pid INTEGER, ppid INTEGER,"                                           \
    " parent INTEGER," /* its row, where the parent is here */                 \
    " exe TEXT, command TEXT,"                                                 \
    " python TEXT, level TEXT NOT NULL,"                                       \
    " start_us INTEGER NOT NULL, end_us INTEGER,"                              \
    " exit_status INTEGER," /* as a shell counts: 128 + signal */              \
    " note TEXT,"           /* why there is less than usual, or NULL */        \
    " vm_hwm_bytes INTEGER,"                                                   \
    " births INTEGER, deaths INTEGER,"                                         \
    " live_blocks INTEGER, live_bytes INTEGER,"                                \
    " python_births INTEGER, python_deaths INTEGER,"                           \
    " lost_events INTEGER, lost_batches INTEGER,"                              \
    " census_cpu_us INTEGER, census_read_bytes INTEGER);"                      \
    "CREATE TABLE clock ("                                                     \
    " t_us INTEGER PRIMARY KEY,"                                               \
    " monotonic_ns INTEGER, boot_ns INTEGER, wall_unix_ns INTEGER);"           \
    "CREATE TABLE tick0 (" RECORDING_TICK_COLUMNS                              \
    "CREATE TABLE tick1 (" RECORDING_TICK_COLUMNS                              \
    "CREATE TABLE tick2 (" RECORDING_TICK_COLUMNS "CREATE TABLE census ("      \
    " id INTEGER PRIMARY KEY,"                                                 \
    " process INTEGER NOT NULL, t_us INTEGER NOT NULL,"                        \
    " image INTEGER NOT NULL," /* how many execs were before */                \
    " kind TEXT NOT NULL, label TEXT,"                                         \
    " ordinal INTEGER," /* among the periodic ones */                          \
    " rss_bytes INTEGER NOT NULL, skew_bytes INTEGER,"                         \
    " vm_hwm_bytes INTEGER, swap_bytes INTEGER, in_swap_bytes INTEGER,"        \
    " anon_huge_bytes INTEGER,"                                                \
    " torn INTEGER NOT NULL,"                                                  \
    " has_types INTEGER NOT NULL,"     /* types are complete */                \
    " has_low_types INTEGER NOT NULL," /* those of low arenas are */           \
    " cpu_us INTEGER, took_us INTEGER, read_bytes INTEGER,"                    \
    " births INTEGER, deaths INTEGER,"                                         \
    " live_blocks INTEGER, live_bytes INTEGER," RECORDING_CAUSES(              \
        RECORDING_LEDGER_COLUMN) " arenas INTEGER, arena_bytes INTEGER, "      \
                                 "arena_resident INTEGER,"                     \
                                 " arena_live INTEGER, arena_held INTEGER,"    \
                                 " arenas_pinned INTEGER, arenas_empty "       \
                                 "INTEGER,"                                    \
                                 " pinned_held INTEGER, pinned_resident "      \
                                 "INTEGER, pinned_holes INTEGER,"              \
                                 " pinned_blocks INTEGER, pinned_live "        \
                                 "INTEGER);"                                   \
                                 "CREATE TABLE class ("                        \
                                 " census INTEGER NOT NULL, size INTEGER NOT " \
                                 "NULL,"                                       \
                                 " pools INTEGER, used INTEGER, free INTEGER," \
                                 " PRIMARY KEY (census, size)) WITHOUT ROWID;" \
                                 "CREATE TABLE arena ("                        \
                                 " census INTEGER NOT NULL, address INTEGER "  \
                                 "NOT NULL,"                                   \
                                 " bytes INTEGER, resident_bytes INTEGER, "    \
                                 "live_bytes INTEGER,"                         \
                                 " hole_bytes INTEGER,"                        \
                                 " pools INTEGER, free_pools INTEGER, "        \
                                 "used_blocks INTEGER,"                        \
                                 " pinned INTEGER, born_us INTEGER,"           \
                                 " PRIMARY KEY (census, address)) WITHOUT "    \
                                 "ROWID;"                                      \
                                 "CREATE TABLE type ("                         \
                                 " census INTEGER NOT NULL, name TEXT NOT "    \
                                 "NULL,"                                       \
                                 " count INTEGER, bytes INTEGER,"              \
                                 " held_exclusive INTEGER, held_split "        \
                                 "INTEGER,"                                    \
                                 " exclusive_bytes INTEGER," /* live in arenas \
                                                                that it holds  \
                                                                alone */       \
                                 " pinned_exclusive INTEGER, pinned_split "    \
                                 "INTEGER,"                                    \
                                 " pinned_bytes INTEGER," /* its live bytes in \
                                                             pinned arenas */  \
                                 " pinned_count INTEGER,"                      \
                                 " PRIMARY KEY (census, name)) WITHOUT ROWID;" \
                                 "CREATE TABLE gc ("                           \
                                 " process INTEGER NOT NULL, generation "      \
                                 "INTEGER NOT NULL,"                           \
                                 " collections INTEGER, collected INTEGER, "   \
                                 "uncollectable INTEGER,"                      \
                                 " pause_us_total INTEGER, pause_us_max "      \
                                 "INTEGER,"                                    \
                                 " pauses_since_us INTEGER,"                   \
                                 " PRIMARY KEY (process, generation)) "        \
                                 "WITHOUT ROWID;"                              \
                                 "CREATE TABLE collection ("                   \
                                 " slot INTEGER PRIMARY KEY," /* a ring */     \
                                 " t_us INTEGER NOT NULL, process INTEGER "    \
                                 "NOT NULL,"                                   \
                                 " generation INTEGER, pause_us INTEGER,"      \
                                 " collected INTEGER, uncollectable INTEGER);" \
                                 "CREATE TABLE event ("                        \
                                 " t_us INTEGER NOT NULL, process INTEGER,"    \
                                 " kind TEXT NOT NULL, text TEXT);"            \
                                 "CREATE TABLE finding ("                      \
                                 " rank INTEGER PRIMARY KEY, process INTEGER," \
                                 " id TEXT NOT NULL, bytes INTEGER, "          \
                                 "returns_bytes INTEGER,"                      \
                                 " owner TEXT, score INTEGER, confidence "     \
                                 "TEXT,"                                       \
                                 " sentence TEXT, evidence TEXT, action "      \
                                 "TEXT);" RECORDING_VIEWS

#define RECORDING_LEDGER_ROW(cause)              \
    " UNION ALL SELECT id, process, t_us, kind," \
    " label, '" #cause "', " #cause " FROM census"

#define RECORDING_VIEWS                                                       \
    "CREATE VIEW v_processes AS SELECT * FROM process;"                       \
    "CREATE VIEW v_censuses AS SELECT * FROM census;"                         \
    "CREATE VIEW v_ledger AS SELECT id AS census, process, t_us, kind,"       \
    " label, '' AS cause, 0 AS bytes FROM census"                             \
    " WHERE 0" RECORDING_CAUSES(                                              \
        RECORDING_LEDGER_ROW) ";"                                             \
                              "CREATE VIEW v_classes AS SELECT c.process, "   \
                              "c.t_us, c.kind, c.label,"                      \
                              " x.* FROM class x JOIN census c ON c.id = "    \
                              "x.census;"                                     \
                              "CREATE VIEW v_arenas AS SELECT c.process, "    \
                              "c.t_us, c.kind, c.label,"                      \
                              " x.*, CASE WHEN x.used_blocks > 0"             \
                              " THEN x.resident_bytes - x.live_bytes END AS " \
                              "held_bytes"                                    \
                              " FROM arena x JOIN census c ON c.id = "        \
                              "x.census;"                                     \
                              "CREATE VIEW v_types AS SELECT c.process, "     \
                              "c.t_us, c.kind, c.label,"                      \
                              " x.* FROM type x JOIN census c ON c.id = "     \
                              "x.census;"                                     \
                              "CREATE VIEW v_gc AS SELECT * FROM gc;"         \
                              "CREATE VIEW v_collections AS SELECT * FROM "   \
                              "collection;"                                   \
                              "CREATE VIEW v_timeline AS"                     \
                              " SELECT 2 AS tier, * FROM tick2 UNION ALL"     \
                              " SELECT 1 AS tier, * FROM tick1 UNION ALL"     \
                              " SELECT 0 AS tier, * FROM tick0;"

#endif
