/*
 * The shared memory is read with pread, never through a mapping: a hole stays a
 * hole, and nothing that the target does to its file can raise a signal here.
 * Only the first page is mapped, for the futex that a waiting target sleeps on.
 */
#include "collector/source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "include/xalloc.h"

enum {
    PAGE = 4096,
    PIPE_BYTES = 1024 * 1024,
    MOST_READS = 64, /* of 64 KiB, before others have their turn */
    A_COPY = 16,     /* batches, of a ring at a time */
    LEAST_ROOM = 32, /* batches that were taken: whoever waits goes on */
    LEAST_WAKE = 5,  /* batches that are worth to be woken for */
    MOST_WAKE = WIRE_RING_BATCHES / 2,
};

static_assert(WIRE_RING_BATCHES % A_COPY == 0, "the ring ends with a copy");

enum drained { DRAINED_FOR_NOW, DRAINED_IN_PART, DRAINED_TO_END };

/* How far one buffer has been read. */
struct reader {
    uint64_t sequence; /* of the batch that is read next, from 1 */
    uint64_t at;       /* offset in it, 0: nothing of it yet */
    uint64_t n_events; /* handed over or lost, as the buffer counts them */
    uint64_t lost_events;
    uint64_t lost_batches;
    uint64_t due;   /* the batch that was being filled as the pass began */
    bool is_behind; /* it was not read to where it was then */
    bool is_known;  /* where its batches lie */
    bool has_ring;
    uint64_t woken; /* the batch that was read next when that was settled */
    struct wire_buffer_head head; /* as the last drain saw it */
};

struct source {
    int pipe;
    int shared;
    uint64_t shared_inode;
    struct wire_shared *header; /* the first page, mapped */
    struct reader *readers;
    size_t n_readers;
    size_t reader_capacity;
    uint32_t n_room; /* buffers that there are, when it was last looked */
    bool is_sound;
    bool has_begun;
    bool is_passed;
    uint32_t buffer; /* that is handed over */
};

/* ---- opening ----------------------------------------------------------- */

static bool
is_pipe(int fd)
{
    struct stat is;
    return fstat(fd, &is) == 0 && S_ISFIFO(is.st_mode);
}

/* A memfd that nobody can shrink under a reader, on ordinary memory. */
static bool
is_sealed_memfd(int fd, uint64_t *inode)
{
    struct stat is;
    struct statfs filesystem;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &is) != 0 ||
        is.st_size < WIRE_BUFFER_BYTES || fstatfs(fd, &filesystem) != 0 ||
        filesystem.f_type != TMPFS_MAGIC)
        return false;
    *inode = is.st_ino;
    return true;
}

struct source *
source_create(int pipe, int shared)
{
    uint64_t inode = 0;
    struct wire_shared *header = MAP_FAILED;
    if (is_pipe(pipe) && is_sealed_memfd(shared, &inode))
        header =
            mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (header == MAP_FAILED) {
        close(pipe);
        close(shared);
        return NULL;
    }
    fcntl(pipe, F_SETFL, O_NONBLOCK);
    for (int n_bytes = PIPE_BYTES; n_bytes >= PAGE; n_bytes /= 4) {
        if (fcntl(pipe, F_SETPIPE_SZ, n_bytes) >= 0)
            break;
    }
    struct source *source = xcalloc(1, sizeof(*source));
    source->pipe = pipe;
    source->shared = shared;
    source->shared_inode = inode;
    source->header = header;
    source->is_sound = true;
    return source;
}

void
source_destroy(struct source *source)
{
    if (source == NULL)
        return;
    munmap(source->header, PAGE);
    close(source->pipe);
    close(source->shared);
    free(source->readers);
    free(source);
}

int
source_pipe(const struct source *source)
{
    return source->pipe;
}

uint64_t
source_shared_inode(const struct source *source)
{
    return source->shared_inode;
}

uint32_t
source_buffer(const struct source *source)
{
    return source->buffer;
}

bool
source_is_passed(const struct source *source)
{
    return source->is_passed;
}

bool
source_is_sound(const struct source *source)
{
    return source->is_sound;
}

/* ---- buffers ----------------------------------------------------------- */

/* Buffers that the memfd has room for. */
static uint32_t
room_in(int shared)
{
    struct stat is;
    if (fstat(shared, &is) != 0 || is.st_size < WIRE_BUFFER_BYTES)
        return 0;
    const off_t n = is.st_size / WIRE_BUFFER_BYTES - 1;
    return n < WIRE_MAX_BUFFERS ? (uint32_t)n : WIRE_MAX_BUFFERS;
}

/* Those that are announced; one that says more than there are is not heard. */
static uint32_t
n_buffers(struct source *source)
{
    const uint32_t n =
        __atomic_load_n(&source->header->n_buffers, __ATOMIC_ACQUIRE);
    if (n > source->n_room)
        source->n_room = room_in(source->shared);
    return n < source->n_room ? n : source->n_room;
}

static struct reader *
reader_of(struct source *source, uint32_t buffer)
{
    while (buffer >= source->n_readers) {
        XGROW(source->readers, source->reader_capacity, source->n_readers);
        source->readers[source->n_readers++] =
            (struct reader){.sequence = 1, .woken = 1};
    }
    return &source->readers[buffer];
}

static off_t
buffer_offset(uint32_t buffer)
{
    return (off_t)(buffer + 1) * WIRE_BUFFER_BYTES;
}

static bool
read_head(const struct source *source, uint32_t buffer,
          struct wire_buffer_head *head)
{
    return pread(source->shared, head, sizeof(*head), buffer_offset(buffer)) ==
           sizeof(*head);
}

/* Where its batches lie is settled before there is one. */
static bool
has_ring(struct source *source, uint32_t buffer)
{
    struct reader *reader = reader_of(source, buffer);
    struct wire_buffer_head head;
    if (!reader->is_known && read_head(source, buffer, &head) &&
        head.sequence != 0) {
        reader->is_known = true;
        reader->has_ring =
            head.ring != 0 && buffer != 0 && buffer <= WIRE_RINGS;
    }
    return reader->has_ring;
}

static uint64_t
n_places(struct source *source, uint32_t buffer)
{
    return has_ring(source, buffer) ? WIRE_RING_BATCHES : WIRE_BATCHES;
}

static off_t
place_of(struct source *source, uint32_t buffer, uint64_t sequence)
{
    const uint64_t place = (sequence - 1) % n_places(source, buffer);
    if (has_ring(source, buffer))
        return (off_t)(WIRE_RINGS_START + (buffer - 1) * WIRE_RING_BYTES +
                       place * WIRE_BATCH_BYTES);
    return buffer_offset(buffer) + (off_t)(1 + place) * WIRE_BATCH_BYTES;
}

/* Tells the owner of a ring how far it was read. */
static void
publish(struct source *source, uint32_t buffer)
{
    if (!has_ring(source, buffer))
        return;
    struct wire_ring *ring = &source->header->rings[buffer - 1];
    const uint64_t taken = reader_of(source, buffer)->sequence - 1;
    __atomic_store_n(&ring->taken, taken, __ATOMIC_RELEASE);
}

/*
 * All there was is read: when its owner is to wake us. Later the more there
 * was, for each wake costs both of us.
 */
static void
settle_wake(struct source *source, uint32_t buffer)
{
    if (!has_ring(source, buffer))
        return;
    struct reader *reader = reader_of(source, buffer);
    uint64_t n = reader->sequence - reader->woken;
    if (n < LEAST_WAKE)
        n = LEAST_WAKE;
    reader->woken = reader->sequence;
    __atomic_store_n(&source->header->rings[buffer - 1].wake_at,
                     reader->sequence - 1 + (n < MOST_WAKE ? n : MOST_WAKE),
                     __ATOMIC_RELAXED);
}

/* ---- batches ----------------------------------------------------------- */

/* What lies between the last batch that was read and this one is lost. */
static void
skip_to(struct reader *reader, const struct wire_batch *batch)
{
    if (batch->sequence == reader->sequence)
        return;
    reader->lost_batches += batch->sequence - reader->sequence;
    if (batch->first_event > reader->n_events) {
        reader->lost_events += batch->first_event - reader->n_events;
        reader->n_events = batch->first_event;
    }
    reader->sequence = batch->sequence;
    reader->at = 0;
}

/* A batch, or as much of it as there is; old news are skipped. */
static void
read_batch(struct source *source, const void *bytes, bool is_closed,
           const struct decode_handler *handler)
{
    struct wire_batch batch;
    memcpy(&batch, bytes, sizeof(batch));
    if (!decode_is_batch(&batch, n_buffers(source))) {
        source->is_sound = false;
        return;
    }
    struct reader *reader = reader_of(source, batch.buffer);
    if (batch.sequence < reader->sequence)
        return;
    skip_to(reader, &batch);
    bool is_sound;
    struct decode_counts counts = {0};
    source->buffer = batch.buffer;
    reader->at = decode_batch(bytes, reader->at, handler, &counts, &is_sound);
    reader->n_events += counts.events;
    reader->lost_events += counts.holes;
    source->is_sound = source->is_sound && is_sound;
    if (is_closed) {
        reader->sequence++;
        reader->at = 0;
    }
}

/*
 * One batch out of the buffer in shared memory. False: it is not there, or was
 * overwritten while it was copied.
 */
static bool
copy_batch(struct source *source, uint32_t buffer, uint64_t sequence,
           char *bytes)
{
    const off_t place = place_of(source, buffer, sequence);
    struct wire_batch batch;
    struct wire_batch after;
    /* The length before what it spans: it may grow while we read. */
    if (pread(source->shared, &batch, sizeof(batch), place) != sizeof(batch) ||
        pread(source->shared, bytes, WIRE_BATCH_BYTES, place) !=
            WIRE_BATCH_BYTES ||
        pread(source->shared, &after, sizeof(after), place) != sizeof(after))
        return false;
    memcpy(bytes, &batch, sizeof(batch));
    return batch.sequence == sequence && after.sequence == sequence &&
           batch.buffer == buffer;
}

static bool
has_more(const struct source *source)
{
    struct pollfd pipe = {.fd = source->pipe, .events = POLLIN};
    return poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLIN) != 0;
}

static bool
is_closed_one(const char *bytes, uint32_t buffer, uint64_t sequence)
{
    struct wire_batch batch;
    memcpy(&batch, bytes, sizeof(batch));
    return batch.buffer == buffer && batch.sequence == sequence &&
           batch.used_bytes != 0;
}

/*
 * As many of a ring's closed batches before `end` as one copy gets, if its
 * owner was not about to overwrite the first of them after that. False: one by
 * one.
 */
static bool
read_many(struct source *source, uint32_t buffer, uint64_t end,
          const struct decode_handler *handler)
{
    char bytes[A_COPY * WIRE_BATCH_BYTES];
    struct wire_buffer_head head;
    const uint64_t first = reader_of(source, buffer)->sequence;
    uint64_t n = A_COPY - (first - 1) % A_COPY;
    if (n > end - first)
        n = end - first;
    const ssize_t n_bytes = (ssize_t)(n * WIRE_BATCH_BYTES);
    if (!has_ring(source, buffer) || first + WIRE_RING_BATCHES < end ||
        pread(source->shared, bytes, (size_t)n_bytes,
              place_of(source, buffer, first)) != n_bytes ||
        !read_head(source, buffer, &head) ||
        head.sequence + 1 >= first + WIRE_RING_BATCHES)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        if (!is_closed_one(bytes + i * WIRE_BATCH_BYTES, buffer, first + i))
            return i != 0;
        read_batch(source, bytes + i * WIRE_BATCH_BYTES, true, handler);
    }
    return source->is_sound;
}

/*
 * What the memory still shows of the closed batches before `end`. One that it
 * shows no more may_come by the pipe, if something is in it: then false, and
 * the rest waits. It is lost if nothing is.
 */
static bool
read_closed(struct source *source, uint32_t buffer, uint64_t end, bool may_come,
            const struct decode_handler *handler)
{
    const uint64_t n_kept = n_places(source, buffer);
    uint64_t sequence = reader_of(source, buffer)->sequence;
    uint64_t told = sequence;
    while (sequence < end && source->is_sound) {
        if (sequence - told >= LEAST_ROOM) {
            publish(source, buffer);
            told = sequence;
        }
        if (read_many(source, buffer, end, handler)) {
            sequence = reader_of(source, buffer)->sequence;
            continue;
        }
        char bytes[WIRE_BATCH_BYTES];
        const bool is_there = sequence + n_kept >= end &&
                              copy_batch(source, buffer, sequence, bytes);
        if (is_there)
            read_batch(source, bytes, true, handler);
        else if (may_come && has_more(source))
            return false;
        else if (sequence + n_kept < end)
            sequence = end - n_kept - 1;
        sequence++;
    }
    return true;
}

/*
 * Of a batch that is being filled: up to the first word that changed between
 * two copies, for a copy may have caught it half written.
 */
static void
keep_settled(char *bytes, const char *again)
{
    size_t n = sizeof(struct wire_batch);
    while (n < WIRE_BATCH_BYTES &&
           memcmp(bytes + n, again + n, sizeof(uint64_t)) == 0)
        n += sizeof(uint64_t);
    memset(bytes + n, 0, WIRE_BATCH_BYTES - n);
}

/*
 * Whether the owner of a ring has closed the batch meanwhile: then it need not
 * be read while that fills it.
 */
static bool
has_moved_on(struct source *source, uint32_t buffer, uint64_t sequence)
{
    struct wire_buffer_head head;
    return has_ring(source, buffer) && read_head(source, buffer, &head) &&
           head.sequence > sequence && head.sequence <= WIRE_MAX_SEQUENCE;
}

/*
 * What the buffer holds that did not come by the pipe, or not yet. False: some
 * of it may come by the pipe, before the rest.
 */
static bool
drain_buffer(struct source *source, uint32_t buffer,
             const struct decode_handler *handler)
{
    struct wire_buffer_head head;
    char bytes[WIRE_BATCH_BYTES];
    if (!read_head(source, buffer, &head))
        return true;
    reader_of(source, buffer)->head = head;
    if (head.sequence == 0)
        return true;
    if (head.sequence > WIRE_MAX_SEQUENCE) {
        source->is_sound = false;
        return true;
    }
    if (!read_closed(source, buffer, head.sequence, true, handler))
        return false;
    const bool has_moved = has_moved_on(source, buffer, head.sequence);
    if (has_moved &&
        !read_closed(source, buffer, head.sequence + 1, true, handler))
        return false;
    publish(source, buffer);
    settle_wake(source, buffer);
    if (has_moved)
        return true;
    char again[WIRE_BATCH_BYTES];
    if (source->is_sound && copy_batch(source, buffer, head.sequence, bytes) &&
        copy_batch(source, buffer, head.sequence, again)) {
        keep_settled(bytes, again);
        read_batch(source, bytes, false, handler);
    }
    return true;
}

/* One that was not sent, the pipe being full, is still in the memory. */
static void
take_sent(struct source *source, const void *bytes,
          const struct decode_handler *handler)
{
    struct wire_batch batch;
    memcpy(&batch, bytes, sizeof(batch));
    if (decode_is_batch(&batch, n_buffers(source)))
        read_closed(source, batch.buffer, batch.sequence, false, handler);
    if (source->is_sound)
        read_batch(source, bytes, true, handler);
}

/*
 * Whole batches from the pipe, but no more than a few times what it holds: a
 * writer that is faster than we are does not keep us from everybody else.
 */
static enum drained
drain_pipe(struct source *source, const struct decode_handler *handler)
{
    char bytes[16 * WIRE_BATCH_BYTES];
    for (unsigned i = 0; i < MOST_READS && source->is_sound; i++) {
        const ssize_t n = read(source->pipe, bytes, sizeof(bytes));
        if (n == 0)
            return DRAINED_TO_END;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? DRAINED_FOR_NOW : DRAINED_TO_END;
        /* Writes are whole batches, and so is what a read finds. */
        if (n % WIRE_BATCH_BYTES != 0) {
            source->is_sound = false;
            break;
        }
        for (ssize_t at = 0; at < n && source->is_sound; at += WIRE_BATCH_BYTES)
            take_sent(source, bytes + at, handler);
    }
    return source->is_sound ? DRAINED_IN_PART : DRAINED_TO_END;
}

/* ---- passes ------------------------------------------------------------ */

/* From now on all that is written up to now is to be read. */
static void
begin_pass(struct source *source)
{
    for (uint32_t i = 0; i < n_buffers(source); i++) {
        struct wire_buffer_head head;
        struct reader *reader = reader_of(source, i);
        reader->due = read_head(source, i, &head) ? head.sequence : 0;
        reader->is_behind = reader->due != 0;
    }
}

/*
 * Whether all of it has been. A writer that never lets the pipe run dry is read
 * beyond where it was, and what others have in the memory meanwhile is read
 * there.
 */
static bool
has_passed(struct source *source, bool is_dry,
           const struct decode_handler *handler)
{
    bool has_passed = true;
    for (uint32_t i = 0; i < n_buffers(source) && source->is_sound; i++) {
        struct reader *reader = reader_of(source, i);
        reader->is_behind =
            reader->is_behind && reader->sequence <= reader->due;
        if (is_dry || reader->is_behind) {
            const bool is_read = drain_buffer(source, i, handler);
            reader = reader_of(source, i);
            reader->is_behind = reader->is_behind && !is_read;
        }
        has_passed = has_passed && !reader->is_behind;
    }
    return has_passed;
}

bool
source_drain(struct source *source, const struct decode_handler *handler)
{
    if (!source->has_begun)
        drain_buffer(source, 0, handler); /* from before there were others */
    source->has_begun = true;
    const enum drained drained = drain_pipe(source, handler);
    source->is_passed = has_passed(source, drained != DRAINED_IN_PART, handler);
    if (source->is_passed)
        begin_pass(source);
    return drained != DRAINED_TO_END && source->is_sound;
}

void
source_add_counters(struct wire_counters *sum, const struct wire_counters *part)
{
    sum->births += part->births;
    sum->birth_bytes += part->birth_bytes;
    sum->deaths += part->deaths;
    sum->death_bytes += part->death_bytes;
}

struct source_totals
source_totals(const struct source *source)
{
    struct source_totals totals = {0};
    for (size_t i = 0; i < source->n_readers; i++) {
        const struct reader *reader = &source->readers[i];
        for (unsigned caller = 0; caller < WIRE_N_CALLERS; caller++) {
            source_add_counters(&totals.counters[caller],
                                &reader->head.counters[caller]);
        }
        totals.lost_events += reader->head.lost_events + reader->lost_events;
        totals.lost_batches += reader->lost_batches;
    }
    return totals;
}

/* ---- the moment called end --------------------------------------------- */

bool
source_end_is_awaited(const struct source *source, uint32_t ticket)
{
    return __atomic_load_n(&source->header->end_left, __ATOMIC_ACQUIRE) !=
           ticket;
}

void
source_end_is_done(struct source *source, uint32_t ticket)
{
    const uint32_t done =
        __atomic_load_n(&source->header->end_done, __ATOMIC_ACQUIRE);
    if ((int32_t)(ticket - done) > 0)
        __atomic_store_n(&source->header->end_done, ticket, __ATOMIC_RELEASE);
    syscall(SYS_futex, &source->header->end_done, FUTEX_WAKE, INT32_MAX, NULL,
            NULL, 0);
}
