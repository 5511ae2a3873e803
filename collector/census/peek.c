#include "collector/census/peek.h"

#include <string.h>

#include "collector/census/pages.h"
#include "include/xalloc.h"

/* As many pages as one target's free lists are likely to lie on. */
enum { SLOTS = 512 };

struct peek {
    struct memory *memory;
    const struct memory_runs *runs;
    uint64_t pages[SLOTS]; /* addresses; 0: nothing is kept */
    char content[SLOTS][MEMORY_PAGE];
};

struct peek *
peek_create(struct memory *memory, const struct memory_runs *runs)
{
    struct peek *peek = xcalloc(1, sizeof(*peek));
    peek->memory = memory;
    peek->runs = runs;
    return peek;
}

void
peek_destroy(struct peek *peek)
{
    free(peek);
}

void
peek_forget(struct peek *peek)
{
    memset(peek->pages, 0, sizeof(peek->pages));
}

/* The page's content, or NULL. */
static const char *
page_at(struct peek *peek, uint64_t page)
{
    const size_t slot = page / MEMORY_PAGE % SLOTS;
    if (page == 0)
        return NULL;
    if (peek->pages[slot] == page)
        return peek->content[slot];
    peek->pages[slot] = 0;
    if (!pages_is_resident(peek->runs, page) ||
        !memory_read(peek->memory, page, peek->content[slot], MEMORY_PAGE))
        return NULL;
    peek->pages[slot] = page;
    return peek->content[slot];
}

static bool
was_touched(const struct peek *peek, uint64_t addr)
{
    const size_t i = pages_first(peek->runs, addr);
    return i < peek->runs->n_runs && peek->runs->runs[i].start <= addr;
}

static bool
read_parts(struct peek *peek, uint64_t addr, char *where, size_t n_bytes,
           bool is_zeroed)
{
    while (n_bytes != 0) {
        const uint64_t offset = addr % MEMORY_PAGE;
        const size_t part =
            n_bytes < MEMORY_PAGE - offset ? n_bytes : MEMORY_PAGE - offset;
        const char *content = page_at(peek, addr - offset);
        if (content != NULL)
            memcpy(where, content + offset, part);
        else if (is_zeroed && !was_touched(peek, addr))
            memset(where, 0, part);
        else
            return false;
        addr += part;
        where += part;
        n_bytes -= part;
    }
    return true;
}

bool
peek_read(struct peek *peek, uint64_t addr, void *where, size_t n_bytes)
{
    return read_parts(peek, addr, where, n_bytes, false);
}

bool
peek_read_zeroed(struct peek *peek, uint64_t addr, void *where, size_t n_bytes)
{
    return read_parts(peek, addr, where, n_bytes, true);
}

bool
peek_word(struct peek *peek, uint64_t addr, uint64_t *word)
{
    return read_parts(peek, addr, (char *)word, sizeof(*word), false);
}
