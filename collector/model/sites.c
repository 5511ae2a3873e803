#include "collector/model/sites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "include/xalloc.h"

/* A stack that passes through addresses of which no image was told yet. */
struct raw {
    size_t n;
    uint64_t frames[];
};

struct stack {
    uint32_t number;
    uint32_t site;   /* 0: it was not looked at yet */
    struct raw *raw; /* NULL: all of it is known */
    UT_hash_handle hh;
};

/* Ascending, and none reaches into the next. */
struct range {
    uint64_t start;
    uint64_t end;
    uint64_t bias;
    uint32_t module;
};

struct sites {
    struct catalogue *catalogue;
    struct stack *stacks; /* by number */
    struct range *ranges;
    size_t n_ranges;
    size_t range_capacity;
    bool has_news; /* since the raw stacks were looked at */
    uint64_t n_lies;
};

struct sites *
sites_create(struct catalogue *catalogue)
{
    struct sites *sites = xcalloc(1, sizeof(*sites));
    sites->catalogue = catalogue;
    return sites;
}

void
sites_destroy(struct sites *sites)
{
    if (sites == NULL)
        return;
    struct stack *stack;
    struct stack *next;
    HASH_ITER(hh, sites->stacks, stack, next)
    {
        HASH_DEL(sites->stacks, stack);
        free(stack->raw);
        free(stack);
    }
    free(sites->ranges);
    free(sites);
}

static struct raw *
raw_of(const uint64_t *frames, size_t n)
{
    struct raw *raw = xcalloc(1, sizeof(*raw) + n * sizeof(frames[0]));
    raw->n = n;
    memcpy(raw->frames, frames, n * sizeof(frames[0]));
    return raw;
}

/* New where there was none. */
static struct stack *
stack_of(struct sites *sites, uint32_t number)
{
    struct stack *stack;
    HASH_FIND(hh, sites->stacks, &number, sizeof(number), stack);
    if (stack != NULL)
        return stack;
    stack = xcalloc(1, sizeof(*stack));
    stack->number = number;
    HASH_ADD(hh, sites->stacks, number, sizeof(stack->number), stack);
    return stack;
}

struct sites *
sites_clone(const struct sites *sites)
{
    struct sites *clone = sites_create(sites->catalogue);
    struct stack *stack;
    struct stack *next;
    HASH_ITER(hh, sites->stacks, stack, next)
    {
        struct stack *copy = stack_of(clone, stack->number);
        copy->site = stack->site;
        if (stack->raw != NULL)
            copy->raw = raw_of(stack->raw->frames, stack->raw->n);
    }
    clone->ranges = xcalloc(sites->n_ranges, sizeof(clone->ranges[0]));
    if (sites->n_ranges != 0)
        memcpy(clone->ranges, sites->ranges,
               sites->n_ranges * sizeof(clone->ranges[0]));
    clone->n_ranges = sites->n_ranges;
    clone->range_capacity = sites->n_ranges;
    clone->has_news = sites->has_news;
    return clone;
}

uint64_t
sites_lies(const struct sites *sites)
{
    return sites->n_lies;
}

/* ---- images ------------------------------------------------------------ */

/* The first that ends behind addr. */
static size_t
first_behind(const struct sites *sites, uint64_t addr)
{
    size_t low = 0;
    size_t high = sites->n_ranges;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (sites->ranges[middle].end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts n ranges where there were n_old of them. */
static void
replace(struct sites *sites, size_t at, size_t n_old, const struct range *fresh,
        size_t n)
{
    XGROW(sites->ranges, sites->range_capacity, sites->n_ranges + n);
    memmove(&sites->ranges[at + n], &sites->ranges[at + n_old],
            (sites->n_ranges - at - n_old) * sizeof(sites->ranges[0]));
    memcpy(&sites->ranges[at], fresh, n * sizeof(sites->ranges[0]));
    sites->n_ranges += n;
    sites->n_ranges -= n_old;
}

/* What reaches over an end of the new one keeps what is outside of it. */
static void
put_range(struct sites *sites, const struct range *range)
{
    struct range fresh[3];
    size_t n = 0;
    const size_t at = first_behind(sites, range->start);
    size_t end = at;
    while (end < sites->n_ranges && sites->ranges[end].start < range->end)
        end++;
    if (at < end && sites->ranges[at].start < range->start) {
        fresh[n] = sites->ranges[at];
        fresh[n++].end = range->start;
    }
    fresh[n++] = *range;
    if (at < end && sites->ranges[end - 1].end > range->end) {
        fresh[n] = sites->ranges[end - 1];
        fresh[n++].start = range->end;
    }
    replace(sites, at, end - at, fresh, n);
}

void
sites_image(struct sites *sites, const struct sites_image *image)
{
    if (image->start >= image->end || sites->n_ranges >= SITES_MOST_IMAGES) {
        sites->n_lies++;
        return;
    }
    put_range(sites,
              &(struct range){
                  .start = image->start,
                  .end = image->end,
                  .bias = image->bias,
                  .module = catalogue_module(sites->catalogue, &image->module),
              });
    sites->has_news = true;
}

/* ---- stacks ------------------------------------------------------------ */

/* A call may be the last thing in its image: what is before addr counts. */
static struct catalogue_frame
frame_of(const struct sites *sites, uint64_t addr)
{
    const size_t at = first_behind(sites, addr - 1);
    if (at == sites->n_ranges || sites->ranges[at].start > addr - 1)
        return (struct catalogue_frame){.offset = addr};
    return (struct catalogue_frame){
        .offset = addr - sites->ranges[at].bias,
        .module = sites->ranges[at].module,
    };
}

static bool
has_images(const struct sites *sites, const uint64_t *frames, size_t n)
{
    for (size_t i = 0; i < n && frames[i] != 0; i++) {
        if (frame_of(sites, frames[i]).module == 0)
            return false;
    }
    return true;
}

static uint32_t
site_of(const struct sites *sites, const uint64_t *frames, size_t n)
{
    uint32_t ids[SITES_MOST_FRAMES];
    const bool is_cut = n > SITES_MOST_FRAMES || frames[n - 1] == 0;
    if (is_cut)
        n--;
    for (size_t i = 0; i < n; i++) {
        const struct catalogue_frame frame = frame_of(sites, frames[i]);
        ids[i] = catalogue_frame(sites->catalogue, &frame);
    }
    const struct catalogue_site site = {ids, n, is_cut};
    return n == 0 ? 0 : catalogue_site(sites->catalogue, &site);
}

/* Up to the first 0, that one too, and to the first that is too many. */
static size_t
sound_length(const uint64_t *frames, size_t n)
{
    size_t i = 0;
    while (i < n && i <= SITES_MOST_FRAMES) {
        if (frames[i++] == 0)
            break;
    }
    return i;
}

void
sites_stack(struct sites *sites, uint32_t number, const uint64_t *frames,
            size_t n)
{
    const size_t n_sound = sound_length(frames, n);
    if (n_sound != n)
        sites->n_lies++;
    if (number == 0 || number >= LIVEMAP_MOST_STACKS || n_sound == 0) {
        sites->n_lies++;
        return;
    }
    struct stack *stack = stack_of(sites, number);
    free(stack->raw);
    stack->raw = NULL;
    stack->site = 0;
    if (has_images(sites, frames, n_sound)) {
        stack->site = site_of(sites, frames, n_sound);
    } else {
        stack->raw = raw_of(frames, n_sound);
        sites->has_news = true;
    }
}

/* ---- what they add up to ----------------------------------------------- */

/* Images that have come since may explain stacks that were told before. */
static void
look_again(struct sites *sites)
{
    struct stack *stack;
    struct stack *next;
    HASH_ITER(hh, sites->stacks, stack, next)
    {
        struct raw *raw = stack->raw;
        if (raw == NULL || !sites->has_news)
            continue;
        stack->site = site_of(sites, raw->frames, raw->n);
        if (!has_images(sites, raw->frames, raw->n))
            continue;
        free(raw);
        stack->raw = NULL;
    }
    sites->has_news = false;
}

static int
compare_uses(const void *left, const void *right)
{
    const struct sites_use *a = left;
    const struct sites_use *b = right;
    return (a->site > b->site) - (a->site < b->site);
}

void
sites_add(struct sites_use *sum, const struct sites_use *use)
{
    sum->live_blocks += use->live_blocks;
    sum->live_bytes += use->live_bytes;
    sum->alloc_blocks += use->alloc_blocks;
    sum->alloc_bytes += use->alloc_bytes;
    sum->live_blocks_variance += use->live_blocks_variance;
    sum->live_bytes_variance += use->live_bytes_variance;
    sum->alloc_blocks_variance += use->alloc_blocks_variance;
    sum->alloc_bytes_variance += use->alloc_bytes_variance;
}

static uint32_t
known_site(const struct sites *sites, uint32_t number)
{
    const struct stack *stack;
    HASH_FIND(hh, sites->stacks, &number, sizeof(number), stack);
    return stack == NULL ? 0 : stack->site;
}

static struct sites_use
use_of(const struct sites *sites, const struct livemap_tally *tally)
{
    return (struct sites_use){
        .site = known_site(sites, tally->stack),
        .live_blocks = tally->live_blocks,
        .live_bytes = tally->live_bytes,
        .alloc_blocks = tally->alloc_blocks,
        .alloc_bytes = tally->alloc_bytes,
    };
}

/* One for each site, ascending; returns how many there are. */
static size_t
join(struct sites_use *uses, size_t n_uses)
{
    size_t n = 0;
    qsort(uses, n_uses, sizeof(*uses), compare_uses);
    for (size_t i = 0; i < n_uses; i++) {
        if (n != 0 && uses[n - 1].site == uses[i].site)
            sites_add(&uses[n - 1], &uses[i]);
        else
            uses[n++] = uses[i];
    }
    return n;
}

struct sites_use *
sites_list(struct sites *sites, const struct livemap *map, size_t *n)
{
    size_t n_tallies;
    const struct livemap_tally *tallies = livemap_tallies(map, &n_tallies);
    struct sites_use *uses = xcalloc(n_tallies, sizeof(*uses));
    size_t n_uses = 0;
    look_again(sites);
    for (size_t i = 0; i < n_tallies; i++) {
        if ((tallies[i].live_blocks | tallies[i].alloc_blocks) != 0)
            uses[n_uses++] = use_of(sites, &tallies[i]);
    }
    *n = join(uses, n_uses);
    return uses;
}

/* A hostile stream may say more than there can be. */
static uint64_t
whole(double total)
{
    return total < 0x1p62 ? (uint64_t)llround(total) : (uint64_t)1 << 62;
}

static struct sites_use
estimated_use(const struct sites *sites, const struct samples_tally *tally)
{
    return (struct sites_use){
        .site = known_site(sites, tally->stack),
        .live_blocks = whole(tally->live_blocks.total),
        .live_bytes = whole(tally->live_bytes.total),
        .alloc_blocks = whole(tally->alloc_blocks.total),
        .alloc_bytes = whole(tally->alloc_bytes.total),
        .live_blocks_variance = tally->live_blocks.variance,
        .live_bytes_variance = tally->live_bytes.variance,
        .alloc_blocks_variance = tally->alloc_blocks.variance,
        .alloc_bytes_variance = tally->alloc_bytes.variance,
    };
}

struct sites_use *
sites_estimate(struct sites *sites, const struct samples *samples, size_t *n)
{
    size_t n_tallies;
    struct samples_tally *tallies = samples_list(samples, &n_tallies);
    struct sites_use *uses = xcalloc(n_tallies + 1, sizeof(*uses));
    look_again(sites);
    for (size_t i = 0; i < n_tallies; i++)
        uses[i] = estimated_use(sites, &tallies[i]);
    free(tallies);
    *n = join(uses, n_tallies);
    return uses;
}
