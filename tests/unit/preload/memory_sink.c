#include "tests/unit/preload/memory_sink.h"

#include <err.h>
#include <string.h>
#include <sys/mman.h>

struct memory_sink *memory_sink;
enum sink_result memory_sink_result = SINK_SENT;
bool memory_sink_is_met = true;
struct sink_terms memory_sink_terms;
void (*memory_sink_during_write)(void);

void
memory_sink_start(void)
{
    memory_sink = mmap(NULL, sizeof(*memory_sink), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory_sink == MAP_FAILED)
        err(1, "no memory is to be had");
}

bool
sink_address(const char *path)
{
    return path[0] != '\0';
}

bool
sink_open(const struct wire_hello *hello, const struct sink_texts *texts,
          int shared_fd, int wait_ms, struct sink_terms *terms)
{
    (void)texts;
    *terms = memory_sink_terms;
    (void)shared_fd;
    const unsigned n =
        __atomic_fetch_add(&memory_sink->n_hellos, 1, __ATOMIC_RELAXED);
    memory_sink->hellos[n % MEMORY_SINK_HELLOS] = *hello;
    memory_sink->wait_ms = wait_ms;
    return memory_sink_is_met;
}

enum sink_result
sink_write(const void *batches, size_t n, bool may_wait)
{
    (void)may_wait;
    for (size_t i = 0; i < n; i++) {
        const unsigned number =
            __atomic_fetch_add(&memory_sink->n_batches, 1, __ATOMIC_RELAXED);
        memcpy(memory_sink->batches[number % MEMORY_SINK_BATCHES],
               (const char *)batches + i * WIRE_BATCH_BYTES, WIRE_BATCH_BYTES);
    }
    if (memory_sink_during_write != NULL)
        memory_sink_during_write();
    return memory_sink_result;
}

enum sink_result
sink_wait(const uint64_t *taken, uint64_t wanted, bool may_wait)
{
    (void)taken;
    (void)wanted;
    (void)may_wait;
    memory_sink->n_waits++;
    return memory_sink_result;
}

void
sink_close(void)
{
    memory_sink->n_closed++;
}
