#include "tests/unit/collector/fake_memory.h"

#include <string.h>

#include "include/xalloc.h"

char *
fake_memory_add(struct memory *memory, uint64_t start, uint64_t n_bytes)
{
    struct fake_region *region = &memory->regions[memory->n_regions++];
    *region = (struct fake_region){
        .start = start,
        .n_bytes = n_bytes,
        .bytes = xcalloc(n_bytes, 1),
        .pages = xcalloc(n_bytes / MEMORY_PAGE, sizeof(region->pages[0])),
    };
    return region->bytes;
}

void
fake_memory_finish(struct memory *memory)
{
    for (size_t i = 0; i < memory->n_regions; i++) {
        free(memory->regions[i].bytes);
        free(memory->regions[i].pages);
    }
    *memory = (struct memory){0};
}

/* The region that holds addr, or NULL. */
static const struct fake_region *
region_of(const struct memory *memory, uint64_t addr)
{
    for (size_t i = 0; i < memory->n_regions; i++) {
        const struct fake_region *region = &memory->regions[i];
        if (addr >= region->start && addr - region->start < region->n_bytes)
            return region;
    }
    return NULL;
}

void
fake_memory_set(struct memory *memory, uint64_t start, uint64_t end,
                enum fake_page is)
{
    for (uint64_t at = start; at < end; at += MEMORY_PAGE) {
        const struct fake_region *region = region_of(memory, at);
        region->pages[(at - region->start) / MEMORY_PAGE] = is;
    }
}

char *
fake_memory_at(const struct memory *memory, uint64_t addr)
{
    const struct fake_region *region = region_of(memory, addr);
    return region->bytes + (addr - region->start);
}

void
fake_memory_put(struct memory *memory, uint64_t addr, uint64_t word)
{
    memcpy(fake_memory_at(memory, addr), &word, sizeof(word));
}

struct memory_runs
fake_memory_runs(struct memory *memory)
{
    struct memory_runs runs = {0};
    memory_scan(memory, 0, MEMORY_END, &runs);
    memory->n_scans--;
    return runs;
}

/* ---- collector/census/memory.h ----------------------------------------- */

bool
memory_is_there(struct memory *memory)
{
    return memory->n_regions != 0;
}

bool
memory_read(struct memory *memory, uint64_t addr, void *where, size_t n_bytes)
{
    if (memory->on_read != NULL)
        memory->on_read(memory, addr, n_bytes);
    memory->n_reads++;
    const struct fake_region *region = region_of(memory, addr);
    if (region == NULL || region->start + region->n_bytes - addr < n_bytes)
        return false;
    const uint64_t at = addr - region->start;
    for (uint64_t i = at / MEMORY_PAGE; i * MEMORY_PAGE < at + n_bytes; i++) {
        if (region->pages[i] == FAKE_ABSENT ||
            region->pages[i] == FAKE_SWAPPED) {
            memory->n_bad_reads++;
            return false;
        }
    }
    memcpy(where, region->bytes + at, n_bytes);
    memory->bytes_read += n_bytes;
    return true;
}

void
memory_read_spans(struct memory *memory, struct memory_span *spans,
                  size_t n_spans)
{
    for (size_t i = 0; i < n_spans; i++)
        spans[i].is_read = memory_read(memory, spans[i].addr, spans[i].where,
                                       spans[i].n_bytes);
}

char *
memory_maps_text(struct memory *memory)
{
    return memory->maps == NULL ? NULL : strdup(memory->maps);
}

bool
memory_read_file(const char *path, uint64_t inode, uint64_t offset, void *where,
                 size_t n_bytes)
{
    (void)path, (void)inode, (void)offset, (void)where, (void)n_bytes;
    return false;
}

static void
scan_page(const struct fake_region *region, size_t page,
          struct memory_runs *runs)
{
    const enum fake_page is = region->pages[page];
    if (is == FAKE_ABSENT)
        return;
    const uint64_t start = region->start + page * MEMORY_PAGE;
    struct memory_run *last =
        runs->n_runs == 0 ? NULL : &runs->runs[runs->n_runs - 1];
    if (last != NULL && last->end == start &&
        last->is_swapped == (is == FAKE_SWAPPED) &&
        last->is_huge == (is == FAKE_HUGE)) {
        last->end += MEMORY_PAGE;
        return;
    }
    XGROW(runs->runs, runs->capacity, runs->n_runs);
    runs->runs[runs->n_runs++] = (struct memory_run){
        .start = start,
        .end = start + MEMORY_PAGE,
        .is_swapped = is == FAKE_SWAPPED,
        .is_huge = is == FAKE_HUGE,
    };
}

bool
memory_scan(struct memory *memory, uint64_t start, uint64_t end,
            struct memory_runs *runs)
{
    memory->n_scans++;
    for (size_t i = 0; i < memory->n_regions; i++) {
        const struct fake_region *region = &memory->regions[i];
        for (size_t page = 0; page < region->n_bytes / MEMORY_PAGE; page++) {
            const uint64_t at = region->start + page * MEMORY_PAGE;
            if (at >= start && at < end)
                scan_page(region, page, runs);
        }
    }
    if (memory->on_scan != NULL)
        memory->on_scan(memory);
    return true;
}

bool
memory_tells_huge(const struct memory *memory)
{
    (void)memory;
    return true;
}

char *
memory_smaps_text(struct memory *memory)
{
    (void)memory;
    return NULL;
}

bool
memory_scan_quickly(struct memory *memory, uint64_t start, uint64_t end,
                    struct memory_runs *runs)
{
    return memory_scan(memory, start, end, runs);
}

void
memory_runs_finish(struct memory_runs *runs)
{
    free(runs->runs);
    *runs = (struct memory_runs){0};
}

uint64_t
memory_bytes_read(const struct memory *memory)
{
    return memory->bytes_read;
}
