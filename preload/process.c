#include "preload/process.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "include/attrs.h"
#include "include/clock.h"
#include "preload/raw.h"
#include "preload/resident.h"
#include "preload/shared.h"
#include "preload/sink.h"

enum {
    PAGE_BYTES = 4096,
    /* Of a collector that took the hello, but is too busy to answer. */
    WELCOME_WAIT_MS = 1000,
    TELL_AGAIN_NS = 1000000000,
    POLICY_DEADLINE = 6, /* glibc has no name for it (linux/sched.h) */
};

/* The linker's bounds of this shared object, as loaded. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

/* On a page that a forked child sees as zero. */
struct birthmark {
    _Atomic int birth; /* enum process_birth */
};

static_assert(PROCESS_UNKNOWN == 0, "what a wiped page says");

_Atomic int process_current_mode = PROCESS_EARLY;
_Atomic int process_current_level = WIRE_LEVEL_WATCH;
_Atomic uint64_t process_current_sample_bytes;
_Atomic uint8_t process_telling = 1;

static struct {
    struct birthmark *birthmark;
    struct wire_hello hello; /* kept: a forked child sends it again */
    char exe[WIRE_TEXT_BYTES];
    char command[WIRE_TEXT_BYTES];
    struct wire_counters base[WIRE_N_CALLERS]; /* inherited by this process */
    _Atomic uint64_t stamp;
    _Atomic uint64_t told_again_ns;
    _Atomic bool is_realtime;
    _Atomic bool is_threaded;
    int pid;
} process;

static void
set_mode(enum process_mode mode)
{
    atomic_store(&process_current_mode, mode);
}

uint64_t
process_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
process_started_ns(void)
{
    return process.hello.started_ns;
}

uint64_t
process_next_stamp(void)
{
    return atomic_fetch_add(&process.stamp, 1) + 1;
}

bool
process_is_threaded(void)
{
    return atomic_load_explicit(&process.is_threaded, memory_order_relaxed);
}

void
process_note_thread(void)
{
    atomic_store(&process.is_threaded, true);
}

void
process_tell_again(void)
{
    const uint64_t at_ns = process_now_ns();
    uint64_t last_ns = atomic_load(&process.told_again_ns);
    if (at_ns - last_ns < TELL_AGAIN_NS ||
        !atomic_compare_exchange_strong(&process.told_again_ns, &last_ns,
                                        at_ns))
        return;
    const uint8_t telling = atomic_load(&process_telling);
    atomic_store(&process_telling, telling == UINT8_MAX ? 1 : telling + 1);
}

bool
process_is_ours(void)
{
    return raw_getpid() == process.pid;
}

void
process_note_policy(int policy)
{
    policy &= ~SCHED_RESET_ON_FORK;
    if (policy == SCHED_FIFO || policy == SCHED_RR || policy == POLICY_DEADLINE)
        atomic_store(&process.is_realtime, true);
}

bool
process_may_wait(void)
{
    return !atomic_load_explicit(&process.is_realtime, memory_order_relaxed);
}

void
process_stay_off(void)
{
    set_mode(PROCESS_OFF);
}

void
process_fall_silent(void)
{
    if (!process_is_ours())
        return; /* a vfork child closed its descriptors, not its parent's */
    set_mode(PROCESS_OFF);
    sink_close();
    resident_close();
}

void
process_leave_stream(uint32_t buffer_index)
{
    shared_cut_off(buffer_index);
    sink_close();
    resident_close();
}

/* ---- the introduction -------------------------------------------------- */

/* Returns the bytes read, at most n_bytes; 0 where there is nothing. */
static uint16_t
read_file(const char *path, char *where, size_t n_bytes)
{
    const long fd = raw_call4(SYS_openat, AT_FDCWD, (long)(uintptr_t)path,
                              O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    const long n = raw_read((int)fd, where, n_bytes);
    raw_close((int)fd);
    return n < 0 ? 0 : (uint16_t)n;
}

static void
describe_image(struct wire_hello *hello)
{
    const long n = raw_call3(SYS_readlink, (long)(uintptr_t) "/proc/self/exe",
                             (long)(uintptr_t)process.exe, sizeof(process.exe));
    hello->exe_bytes = n < 0 ? 0 : (uint16_t)n;
    hello->command_bytes = read_file("/proc/self/cmdline", process.command,
                                     sizeof(process.command));
}

/* The birthmark's page, or false: a fork could not be noticed. */
static bool
make_birthmark(void)
{
    void *page = raw_map(PAGE_BYTES, -1, 0);
    if (page == NULL)
        return false;
    if (raw_call3(SYS_madvise, (long)(uintptr_t)page, PAGE_BYTES,
                  MADV_WIPEONFORK) != 0) {
        raw_unmap(page, PAGE_BYTES);
        return false;
    }
    struct birthmark *birthmark = page;
    atomic_store(&birthmark->birth, PROCESS_INTRODUCING);
    process.birthmark = birthmark;
    return true;
}

static void
set_known(void)
{
    atomic_store(&process.birthmark->birth, PROCESS_KNOWN);
}

/* Sends the hello; ON or OFF afterwards, and known. */
static bool
introduce(int wait_ms)
{
    struct wire_hello *hello = &process.hello;
    hello->parent_pid = hello->reason == WIRE_REASON_FORK
                            ? process.pid
                            : (int)raw_call3(SYS_getppid, 0, 0, 0);
    process.pid = raw_getpid();
    process_note_policy((int)raw_call3(SYS_sched_getscheduler, 0, 0, 0));
    hello->pid = process.pid;
    hello->started_ns = process_now_ns();

    const int fd = shared_create();
    if (fd < 0) {
        set_mode(PROCESS_OFF);
        set_known();
        return false;
    }
    const struct sink_texts texts = {
        .exe = process.exe,
        .exe_bytes = hello->exe_bytes,
        .command = process.command,
        .command_bytes = hello->command_bytes,
    };
    struct sink_terms terms = {
        .level = (enum wire_level)atomic_load(&process_current_level),
        .sample_bytes = process_sample_bytes(),
    };
    const bool is_met = sink_open(hello, &texts, fd, wait_ms, &terms);
    if (is_met && hello->python_text.n_bytes != 0)
        resident_open();
    if (is_met && terms.level >= WIRE_LEVEL_EXACT)
        shared_map_rings(fd);
    raw_close(fd);
    atomic_store(&process_current_level, (int)terms.level);
    atomic_store(&process_current_sample_bytes, terms.sample_bytes);
    set_mode(is_met ? PROCESS_ON : PROCESS_OFF);
    set_known();
    return is_met;
}

bool
process_start(const char *socket_path, uint32_t flags,
              const struct process_python *python)
{
    if (!sink_address(socket_path) || !make_birthmark()) {
        set_mode(PROCESS_OFF);
        return false;
    }
    struct wire_hello *hello = &process.hello;
    hello->magic = WIRE_MAGIC;
    hello->version = WIRE_VERSION;
    hello->hello_bytes = sizeof(*hello);
    hello->reason = WIRE_REASON_START;
    hello->flags = flags;
    hello->image.start = (uintptr_t)__ehdr_start;
    hello->image.n_bytes = (uintptr_t)_end - (uintptr_t)__ehdr_start;
    hello->private_use.start = (uintptr_t)process.birthmark;
    hello->private_use.n_bytes = PAGE_BYTES;
    hello->python_text = python->text;
    hello->python_runtime = python->runtime;
    memcpy(hello->python_version, python->version,
           sizeof(hello->python_version));
    describe_image(hello);
    return introduce(WELCOME_WAIT_MS);
}

/* ---- fork -------------------------------------------------------------- */

enum process_birth
process_birth(void)
{
    return process.birthmark == NULL
               ? PROCESS_KNOWN
               : (enum process_birth)atomic_load(&process.birthmark->birth);
}

bool
process_claim_introduction(void)
{
    int unknown = PROCESS_UNKNOWN;
    return atomic_compare_exchange_strong(&process.birthmark->birth, &unknown,
                                          PROCESS_INTRODUCING);
}

/* What is alive in this process: inherited, and born less dead since. */
uint32_t
process_note_fork(void)
{
    struct wire_hello *hello = &process.hello;
    const struct wire_shared *header = shared_header();
    if (process_mode() != PROCESS_ON || header == NULL ||
        process_birth() != PROCESS_KNOWN)
        return 0;
    hello->fork_stamp = atomic_load(&process.stamp);
    const uint32_t n_buffers =
        __atomic_load_n(&header->n_buffers, __ATOMIC_ACQUIRE);
    for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++) {
        struct wire_counters sum = process.base[caller];
        for (uint32_t i = 0; i < n_buffers; i++) {
            const struct wire_counters *part =
                &shared_buffer(i)->counters[caller];
            sum.births += part->births;
            sum.birth_bytes += part->birth_bytes;
            sum.deaths += part->deaths;
            sum.death_bytes += part->death_bytes;
        }
        hello->inherited[caller] = sum;
    }
    return ++hello->fork_number;
}

void
process_start_child(void)
{
    if (process_mode() != PROCESS_ON) {
        set_mode(PROCESS_OFF);
        set_known();
        return;
    }
    process.hello.reason = WIRE_REASON_FORK;
    atomic_store(&process.is_threaded, false);
    memcpy(process.base, process.hello.inherited, sizeof(process.base));
    introduce(0);
}
