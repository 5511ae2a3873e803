#include "collector/inspection.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collector/membership.h"
#include "collector/model/arenas.h"
#include "collector/proc.h"
#include "collector/python.h"
#include "collector/registry.h"
#include "include/text.h"
#include "include/xalloc.h"

enum {
    MOST_FAILURES = 3, /* in a row; then the process is given up */
    STATUS_BYTES = 8192,
};

struct inspection {
    struct inspection_plan plan;
    struct survey *survey;
    struct recording *recording;
    struct proc proc;
    struct membership_own own;
    struct membership membership; /* of its cgroup */
    struct memory *memory;
    struct python python;
    bool had_arenas;       /* a census has seen some */
    bool is_native;        /* the last one told no more of it */
    struct arenas *arenas; /* as censuses have seen them */
    uint64_t n_seen;       /* stamps of what they saw */
    char *exe;
    char *command;
    char *note;
    int64_t ppid;
    int64_t ns_pid;
    int64_t end_us;
    int64_t vm_hwm_bytes;
    int64_t n_execs;
    uint64_t next_us;
    uint64_t n_taken;           /* that no mark asked for */
    uint64_t unexplained_bytes; /* at the last census */
    uint64_t census_cpu_us;
    uint64_t census_read_bytes;
    unsigned n_jobs;
    unsigned n_failures; /* in a row */
    bool is_due_filed;
    bool is_stopping;
    bool is_gone;
    bool is_entered; /* in the registry */
};

/* What goes with a filed census and comes back with it. */
struct errand {
    struct inspection *inspection;
    char *label; /* of a mark, or NULL */
    void (*done)(void *mark);
    void *mark;
};

static uint64_t
now_us(const struct inspection *inspection)
{
    return recording_now_us(inspection->recording);
}

/* ---- files of /proc ---------------------------------------------------- */

static int
open_file(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Up to n_bytes - 1 of a file, and a NUL; how many there were. */
static size_t
read_file(pid_t pid, const char *name, char *where, size_t n_bytes)
{
    size_t used = 0;
    ssize_t n = 1;
    const int fd = open_file(pid, name);
    while (fd >= 0 && n > 0 && used + 1 < n_bytes) {
        n = read(fd, where + used, n_bytes - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    where[used] = '\0';
    return used;
}

static struct memory *
open_memory(pid_t pid, char *why, size_t n_bytes)
{
    static const char *const names[] = {"mem", "maps", "smaps", "smaps_rollup",
                                        "pagemap"};
    int fds[countof(names)];
    for (size_t i = 0; i < countof(names); i++) {
        fds[i] = open_file(pid, names[i]);
        if (fds[i] >= 0)
            continue;
        snprintf(why, n_bytes, "/proc/%d/%s: %s", pid, names[i],
                 strerror(errno));
        while (i-- > 0)
            close(fds[i]);
        return NULL;
    }
    const struct memory_descriptors descriptors = {
        .mem = fds[0],
        .maps = fds[1],
        .smaps = fds[2],
        .rollup = fds[3],
        .pagemap = fds[4],
    };
    return memory_create(&descriptors, pid);
}

/* The last number of the line that begins with a word, or -1. */
static int64_t
last_number(const char *status, const char *word)
{
    const char *line = strstr(status, word);
    if (line == NULL)
        return RECORDING_UNKNOWN;
    int64_t number = RECORDING_UNKNOWN;
    line += strlen(word);
    for (char *end; *line != '\n' && *line != '\0'; line = end) {
        const int64_t next = strtoll(line, &end, 10);
        if (end == line)
            break;
        number = next;
    }
    return number;
}

/* ---- threads ----------------------------------------------------------- */

/* "NUMBER ARGUMENT... SP PC", "-1 SP PC" or "running" (proc_pid_syscall(5)). */
static uint64_t
stack_pointer_in(char *line)
{
    uint64_t last = 0;
    uint64_t before = 0;
    char *rest = line;
    char *word;
    while ((word = strsep(&rest, " \n")) != NULL) {
        if (strncmp(word, "0x", 2) != 0)
            continue;
        before = last;
        last = strtoull(word, NULL, 16);
    }
    return before;
}

static struct census_thread
describe_thread(pid_t pid, const char *tid)
{
    char name[64];
    char text[STATUS_BYTES];
    struct census_thread thread = {.is_main = atoi(tid) == pid};
    snprintf(name, sizeof(name), "task/%.20s/status", tid);
    read_file(pid, name, text, sizeof(text));
    thread.tid = (uint32_t)last_number(text, "\nNSpid:");
    snprintf(name, sizeof(name), "task/%.20s/syscall", tid);
    read_file(pid, name, text, sizeof(text));
    thread.stack_pointer = stack_pointer_in(text);
    return thread;
}

static void
list_threads(pid_t pid, struct census_request *request)
{
    char path[64];
    size_t capacity = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *directory = opendir(path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        XGROW(request->threads, capacity, request->n_threads);
        request->threads[request->n_threads++] =
            describe_thread(pid, entry->d_name);
    }
    if (directory != NULL)
        closedir(directory);
}

/* ---- rows -------------------------------------------------------------- */

static void
put_row(const struct inspection *inspection)
{
    recording_put_process(
        inspection->recording,
        &(struct recording_process){
            .id = 1,
            .pid = inspection->proc.pid,
            .ns_pid = inspection->ns_pid,
            .ppid = inspection->ppid,
            .parent = RECORDING_UNKNOWN,
            .exe = inspection->exe,
            .command = inspection->command,
            .python = inspection->python.version[0] == '\0'
                          ? NULL
                          : inspection->python.version,
            .note = inspection->note,
            .level = "inspect",
            .end_us = inspection->end_us,
            .exit_status = RECORDING_UNKNOWN,
            .vm_hwm_bytes = inspection->vm_hwm_bytes,
            .births = RECORDING_UNKNOWN,
            .deaths = RECORDING_UNKNOWN,
            .live_blocks = RECORDING_NOT_COUNTED,
            .live_bytes = RECORDING_NOT_COUNTED,
            .python_births = RECORDING_UNKNOWN,
            .python_deaths = RECORDING_UNKNOWN,
            .lost_events = RECORDING_UNKNOWN,
            .lost_batches = RECORDING_UNKNOWN,
            .census_cpu_us = (int64_t)inspection->census_cpu_us,
            .census_read_bytes = (int64_t)inspection->census_read_bytes,
            .oom_kills = inspection->membership.oom_kills,
            .shares_cgroup = inspection->membership.shares_cgroup,
        });
}

static struct recording_moment
moment_of(const struct inspection *inspection, const char *label)
{
    return (struct recording_moment){
        .process = 1,
        .image = inspection->n_execs,
        .vm_hwm_bytes = inspection->vm_hwm_bytes,
        .births = RECORDING_UNKNOWN,
        .deaths = RECORDING_UNKNOWN,
        .live_blocks = RECORDING_NOT_COUNTED,
        .live_bytes = RECORDING_NOT_COUNTED,
        .label = label,
    };
}

/* ---- what it is -------------------------------------------------------- */

static char *
exe_of(pid_t pid)
{
    static const char deleted[] = " (deleted)";
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    const ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    char *end = strstr(path, deleted);
    if (end != NULL && end[sizeof(deleted) - 1] == '\0')
        *end = '\0';
    return xstrdup(path);
}

static char *
command_of(pid_t pid)
{
    struct text text = {0};
    char arguments[STATUS_BYTES];
    const size_t n = read_file(pid, "cmdline", arguments, sizeof(arguments));
    text_add_json_list(&text, arguments, n);
    return text_take(&text);
}

static void
describe(struct inspection *inspection)
{
    const pid_t pid = inspection->proc.pid;
    char status[STATUS_BYTES];
    free(inspection->exe);
    free(inspection->command);
    free(inspection->note);
    inspection->exe = exe_of(pid);
    inspection->command = command_of(pid);
    inspection->note = NULL;
    read_file(pid, "status", status, sizeof(status));
    inspection->ppid = last_number(status, "\nPPid:");
    inspection->ns_pid = last_number(status, "\nNSpid:");
    inspection->is_native = false;
    inspection->had_arenas = false;
    if (python_find(pid, &inspection->python) && inspection->python.major == 0)
        inspection->note =
            python_native_note(inspection->python.version, false);
}

/* Another program in the same process, or the first. */
static bool
begin_image(struct inspection *inspection, char *why, size_t n_bytes)
{
    struct memory *memory = open_memory(inspection->proc.pid, why, n_bytes);
    if (memory == NULL)
        return false;
    memory_destroy(inspection->memory);
    arenas_destroy(inspection->arenas);
    inspection->memory = memory;
    inspection->arenas = arenas_create();
    inspection->unexplained_bytes = 0;
    describe(inspection);
    put_row(inspection);
    return true;
}

/* ---- censuses ---------------------------------------------------------- */

/*
 * An arena that an earlier census has seen is older than that: it has had the
 * time to fill (DESIGN 2).
 */
static void
add_known_arenas(const struct inspection *inspection,
                 struct census_request *request)
{
    request->candidates = arenas_candidates(inspection->arenas, request->now_us,
                                            &request->n_candidates);
    for (size_t i = 0; i < request->n_candidates; i++)
        request->candidates[i].has_been_full = true;
}

static void
forget(void *context)
{
    struct errand *errand = context;
    free(errand->label);
    free(errand);
}

/* Takes the errand. */
static void
file(struct inspection *inspection, enum recording_census_kind kind,
     struct errand *errand)
{
    const int64_t hwm = proc_vm_hwm(&inspection->proc);
    if (hwm >= 0)
        inspection->vm_hwm_bytes = hwm;
    errand->inspection = inspection;

    struct survey_job *job = xcalloc(1, sizeof(*job));
    job->urgency = SURVEY_AWAITED_BY_USER;
    job->memory = inspection->memory;
    job->forget = forget;
    job->context = errand;
    job->request = (struct census_request){
        .kind = kind,
        .is_unprepared = true,
        .now_us = inspection->n_seen == 0 ? (uint64_t)RECORDING_UNKNOWN
                                          : now_us(inspection),
        .python_major = inspection->python.major,
        .python_minor = inspection->python.minor,
        .has_python = inspection->python.version[0] != '\0',
        .had_arenas = inspection->had_arenas,
        .python_runtime = inspection->python.runtime,
        .python_text = {inspection->python.text_start,
                        inspection->python.text_bytes},
        .wants_types = true,
        .wants_proofs = kind != CENSUS_periodic,
    };
    add_known_arenas(inspection, &job->request);
    list_threads(inspection->proc.pid, &job->request);
    inspection->n_jobs++;
    survey_file(inspection->survey, job);
}

static void
file_what_is_due(struct inspection *inspection)
{
    const uint64_t now = now_us(inspection);
    const struct inspection_plan *plan = &inspection->plan;
    const uint64_t n_times = plan->period_us == 0 ? 1 : plan->n_times;
    if (inspection->is_due_filed || inspection->is_stopping ||
        now < inspection->next_us ||
        (n_times != 0 && inspection->n_taken >= n_times))
        return;
    inspection->next_us += plan->period_us;
    if (inspection->next_us < now)
        inspection->next_us = now + plan->period_us;
    inspection->is_due_filed = true;
    file(inspection, inspection->n_taken == 0 ? CENSUS_start : CENSUS_periodic,
         xcalloc(1, sizeof(struct errand)));
}

unsigned
inspection_mark(struct inspection *inspection, pid_t pid, const char *label,
                void (*done)(void *mark), void *mark)
{
    if (inspection->is_gone || !proc_is_alive(&inspection->proc) ||
        (pid != 0 && pid != inspection->proc.pid && pid != inspection->ns_pid))
        return 0;
    struct errand *errand = xcalloc(1, sizeof(*errand));
    errand->label = xstrdup(label);
    errand->done = done;
    errand->mark = mark;
    file(inspection, CENSUS_mark, errand);
    return 1;
}

static bool
has_arena(const struct census *census, uint64_t start, uint64_t n_bytes)
{
    size_t low = 0;
    size_t high = census->n_arenas;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (census->arenas[middle].address < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < census->n_arenas && census->arenas[low].address == start &&
           census->arenas[low].n_bytes == n_bytes;
}

/* The history of arenas, told by what censuses see instead of by a stream. */
static void
remember_arenas(struct inspection *inspection, const struct census *census,
                uint64_t t_us)
{
    size_t n_known;
    struct census_candidate *known =
        arenas_candidates(inspection->arenas, t_us, &n_known);
    const uint64_t stamp = ++inspection->n_seen;
    for (size_t i = 0; i < n_known; i++) {
        if (!has_arena(census, known[i].start, known[i].n_bytes))
            arenas_unmap(inspection->arenas, stamp, known[i].start,
                         known[i].n_bytes);
    }
    size_t at = 0;
    for (size_t i = 0; i < census->n_arenas; i++) {
        const struct census_arena *arena = &census->arenas[i];
        while (at < n_known && known[at].start < arena->address)
            at++;
        if (at == n_known || known[at].start != arena->address ||
            known[at].n_bytes != arena->n_bytes)
            arenas_map(inspection->arenas, stamp, arena->address,
                       arena->n_bytes, arena->born_us);
    }
    free(known);
    arenas_learn(inspection->arenas, census, t_us);
}

static void
tell_inferred(struct inspection *inspection, const struct census *census)
{
    char text[128];
    if (census->n_inferred == 0)
        return;
    snprintf(text, sizeof(text),
             "the extent of %" PRIu64 " arenas is inferred: the interpreter's "
             "own table of them could not be read",
             census->n_inferred);
    recording_put_event(inspection->recording, 1, "inferred", text);
}

/* Whether the interpreter has arenas, only a census can say. */
static void
judge_interpreter(struct inspection *inspection, const struct census *census)
{
    const bool is_known = inspection->python.major != 0;
    inspection->had_arenas = inspection->had_arenas || census->n_arenas != 0;
    if (inspection->is_native == census->is_native || !is_known)
        return;
    inspection->is_native = census->is_native;
    free(inspection->note);
    inspection->note =
        census->is_native ? python_native_note(inspection->python.version, true)
                          : NULL;
}

static void
learn(struct inspection *inspection, const struct errand *errand,
      struct census *census)
{
    struct recording_moment moment = moment_of(inspection, errand->label);
    membership_look(&inspection->membership, &inspection->own,
                    &inspection->proc, now_us(inspection), &moment);
    remember_arenas(
        inspection, census,
        recording_us(inspection->recording, census->started_us * 1000));
    inspection->unexplained_bytes = census->ledger[CAUSE_unexplained];
    inspection->n_failures = 0;
    judge_interpreter(inspection, census);
    tell_inferred(inspection, census);
    recording_put_census(inspection->recording, &moment, census);
    put_row(inspection);
}

static void
take_back(struct inspection *inspection, struct survey_job *job)
{
    struct errand *errand = job->context;
    if (job->census == NULL) { /* its view came; we know no more than before */
        survey_file(inspection->survey, job);
        return;
    }
    inspection->census_cpu_us += job->census->cpu_us;
    inspection->census_read_bytes += job->census->read_bytes;
    if (survey_looks_again(inspection->survey, job,
                           inspection->unexplained_bytes))
        return;
    const bool is_mark = errand->label != NULL;
    const bool is_good = job->census->is_read && job->census->is_whole;
    inspection->n_jobs--;
    inspection->is_due_filed = inspection->is_due_filed && is_mark;
    if (is_good) {
        learn(inspection, errand, job->census);
        inspection->n_taken += !is_mark;
        if (!is_mark)
            inspection->plan.taken(inspection->plan.context);
    } else {
        census_destroy(job->census);
        inspection->n_failures++;
        if (!is_mark)
            inspection->next_us = 0; /* at once, if it still lives */
    }
    if (is_mark)
        errand->done(errand->mark);
    forget(errand);
    survey_drop(job);
}

/* ---- life -------------------------------------------------------------- */

static void
give_up(struct inspection *inspection, const char *why)
{
    inspection->is_gone = true;
    inspection->end_us = (int64_t)now_us(inspection);
    if (why != NULL)
        recording_put_event(inspection->recording, 1, "gap", why);
    put_row(inspection);
}

/* Its memory is nobody's any more: it has ended, or runs another program. */
static void
look_again(struct inspection *inspection)
{
    char why[256] = "it could not be read any more";
    if (inspection->is_gone || inspection->n_jobs != 0)
        return;
    if (!proc_is_alive(&inspection->proc)) {
        give_up(inspection, NULL);
        return;
    }
    if (inspection->n_failures == 0)
        return;
    if (inspection->n_failures >= MOST_FAILURES ||
        !begin_image(inspection, why, sizeof(why)))
        give_up(inspection, why);
    else
        inspection->n_execs++;
}

void
inspection_tick(struct inspection *inspection)
{
    look_again(inspection);
    if (!inspection->is_gone)
        file_what_is_due(inspection);
    recording_put_number(inspection->recording, "survey_cpu_us",
                         (int64_t)survey_cpu_us(inspection->survey));
}

void
inspection_fetch(struct inspection *inspection)
{
    struct survey_job *job;
    while ((job = survey_fetch(inspection->survey)) != NULL)
        take_back(inspection, job);
}

struct inspection *
inspection_create(const struct inspection_plan *plan, struct survey *survey,
                  struct recording *recording, char *why, size_t n_bytes)
{
    struct inspection *inspection = xcalloc(1, sizeof(*inspection));
    inspection->plan = *plan;
    inspection->survey = survey;
    inspection->recording = recording;
    inspection->proc = proc_open(plan->pid);
    inspection->own = membership_own_open();
    inspection->end_us = RECORDING_UNKNOWN;
    inspection->vm_hwm_bytes = proc_vm_hwm(&inspection->proc);
    if (!begin_image(inspection, why, n_bytes)) {
        inspection_destroy(inspection);
        return NULL;
    }
    if (plan->period_us != 0)
        inspection->is_entered = registry_enter_new(plan->pid);
    file_what_is_due(inspection);
    return inspection;
}

void
inspection_destroy(struct inspection *inspection)
{
    if (inspection == NULL)
        return;
    memory_destroy(inspection->memory);
    arenas_destroy(inspection->arenas);
    membership_finish(&inspection->membership);
    membership_own_close(&inspection->own);
    proc_close(&inspection->proc);
    free(inspection->exe);
    free(inspection->command);
    free(inspection->note);
    free(inspection);
}

void
inspection_stop(struct inspection *inspection)
{
    inspection->is_stopping = true;
}

bool
inspection_is_over(const struct inspection *inspection)
{
    const struct inspection_plan *plan = &inspection->plan;
    const uint64_t n_times = plan->period_us == 0 ? 1 : plan->n_times;
    return inspection->n_jobs == 0 &&
           (inspection->is_gone || inspection->is_stopping ||
            (n_times != 0 && inspection->n_taken >= n_times));
}

void
inspection_finish(struct inspection *inspection)
{
    if (inspection->is_entered)
        registry_leave(inspection->proc.pid);
    put_row(inspection);
}
