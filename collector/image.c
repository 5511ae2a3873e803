#include "collector/image.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "include/cpython.h"
#include "include/xalloc.h"

enum {
    MOST_STACKS = 16384, /* beyond them a stack is unexplained */
    MOST_DRAINS = 64,    /* of a target that tells faster than we read */
    MOST_STRANGE = 4096, /* mappings kept in case there is an interpreter */
};

static_assert((int)WIRE_MOST_STACKS <= (int)LIVEMAP_MOST_STACKS &&
                  (int)WIRE_MOST_FRAMES <= (int)SITES_MOST_FRAMES &&
                  (int)WIRE_BUILD_ID_BYTES == (int)CATALOGUE_BUILD_ID_BYTES,
              "what may be told can be kept");

/* ---- records ----------------------------------------------------------- */

static uint32_t
buffer_of(const struct image *image)
{
    return source_buffer(image->source);
}

/*
 * What obmalloc asks mmap for, and asks in the interpreter's own text. As long
 * as none is known, anybody may be it.
 */
static bool
may_be_pythons(const struct image *image, const struct wire_map *map)
{
    const struct wire_range *text = &image->hello.python_text;
    const uint32_t flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const bool is_callers =
        text->n_bytes == 0
            ? arenas_is_size(map->n_bytes) && image->n_strange < MOST_STRANGE
            : map->caller - text->start < text->n_bytes;
    return is_callers && map->fd == -1 &&
           map->protection == (PROT_READ | PROT_WRITE) &&
           (map->record.detail & flags) == flags;
}

static void
note_arena_buffer(struct image *image)
{
    const uint32_t buffer = buffer_of(image);
    image->has_more_arena_buffers =
        image->has_more_arena_buffers ||
        (image->has_arena_buffer && buffer != image->arena_buffer);
    image->has_arena_buffer = true;
    image->arena_buffer = buffer;
}

static void
note_caller(struct image *image, const struct wire_map *map)
{
    const struct wire_range *stranger = &image->stranger;
    if (image->hello.python_text.n_bytes == 0 && image->arena_caller == 0 &&
        arenas_is_size(map->n_bytes) &&
        map->caller - stranger->start >= stranger->n_bytes)
        image->arena_caller = map->caller;
}

static bool
is_anonymous(const struct wire_map *map)
{
    const uint32_t flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return (map->record.detail & flags) == flags;
}

static void
on_map(void *context, const struct wire_map *map)
{
    struct image *image = context;
    if (may_be_pythons(image, map)) {
        arenas_map(image->arenas, map->stamp, map->addr, map->n_bytes,
                   image->now_us);
        note_caller(image, map);
        image->n_strange += image->hello.python_text.n_bytes == 0;
        if (arenas_is_size(map->n_bytes))
            note_arena_buffer(image);
    }
    if (is_anonymous(map))
        mappings_map(image->mappings, map->stamp, map->addr, map->n_bytes,
                     map->caller);
    else
        mappings_unmap(image->mappings, map->stamp, map->addr, map->n_bytes);
}

static void
on_unmap(void *context, const struct wire_unmap *unmap)
{
    struct image *image = context;
    if (arenas_unmap(image->arenas, unmap->stamp, unmap->addr, unmap->n_bytes))
        note_arena_buffer(image);
    mappings_unmap(image->mappings, unmap->stamp, unmap->addr, unmap->n_bytes);
}

/* What is anonymous stays so: the census asks the kernel whether it is. */
static void
on_remap(void *context, const struct wire_remap *remap)
{
    struct image *image = context;
    arenas_unmap(image->arenas, remap->death_stamp, remap->old_addr,
                 remap->old_bytes);
    mappings_unmap(image->mappings, remap->death_stamp, remap->old_addr,
                   remap->old_bytes);
    mappings_map(image->mappings, remap->stamp, remap->addr, remap->n_bytes,
                 remap->caller);
}

/* Words of one kind that say nothing of the others. */
static_assert((int)LIVEMAP_ADDR_SHIFT == (int)WIRE_EVENT_ADDR_SHIFT &&
                  (uint64_t)LIVEMAP_DEATH == WIRE_EVENT_DEATH &&
                  (int)LIVEMAP_UNITS_SHIFT == (int)WIRE_EVENT_CHUNK_SHIFT &&
                  (int)LIVEMAP_MOST_UNITS == (int)WIRE_EVENT_MOST_CHUNKS &&
                  (int)LIVEMAP_SLACK_SHIFT == (int)WIRE_EVENT_SLACK_SHIFT &&
                  (int)LIVEMAP_MOST_SLACK == (int)WIRE_EVENT_MOST_SLACK &&
                  (int)LIVEMAP_PYTHON == (int)WIRE_CALLER_PYTHON &&
                  (uint64_t)LIVEMAP_OBJECT == WIRE_EVENT_OBJECT &&
                  (uint64_t)LIVEMAP_HALF == WIRE_EVENT_OBJECT_ODD &&
                  (uint64_t)LIVEMAP_MOVED == WIRE_EVENT_OBJECT_MOVED &&
                  (int)LIVEMAP_MOST_EIGHTS == (int)WIRE_EVENT_MOST_CLASSES,
              "the model takes words as they come");

/*
 * What a word tells is counted here, all else by the target itself; of objects
 * the model counts.
 */
static void
count_told(struct image *image, const void *words, size_t n)
{
    uint64_t told[2][WIRE_N_CALLERS] = {0}; /* births, deaths */
    uint64_t bytes[2][WIRE_N_CALLERS] = {0};
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        memcpy(&word, (const char *)words + i * sizeof(word), sizeof(word));
        if ((word & WIRE_EVENT_OBJECT) != 0)
            continue;
        image->n_told++;
        const bool is_death = (word & WIRE_EVENT_DEATH) != 0;
        told[is_death][wire_event_caller(word)]++;
        bytes[is_death][wire_event_caller(word)] += wire_event_bytes(word);
    }
    for (size_t caller = 0; caller < WIRE_N_CALLERS; caller++) {
        image->told[caller].births += told[0][caller];
        image->told[caller].birth_bytes += bytes[0][caller];
        image->told[caller].deaths += told[1][caller];
        image->told[caller].death_bytes += bytes[1][caller];
    }
}

static void
on_events(void *context, const void *words, size_t n)
{
    struct image *image = context;
    count_told(image, words, n);
    if (image->turns != NULL)
        turns_words(image->turns, buffer_of(image), words, n);
}

/* What is in it may be no event: then it says nothing. */
static void
on_block(void *context, const struct wire_block *told)
{
    struct image *image = context;
    if ((told->event & WIRE_EVENT) == 0)
        return;
    count_told(image, &told->event, 1);
    if (image->turns == NULL)
        return;
    struct livemap_block block = livemap_word_block(told->event);
    block.stack = told->record.detail;
    if ((told->event & WIRE_EVENT_DEATH) != 0)
        turns_words(image->turns, buffer_of(image), &told->event, 1);
    else
        turns_birth(image->turns, buffer_of(image), &block);
}

/* To the loader the program itself has no name. */
static void
on_module(void *context, const struct wire_module *module)
{
    const struct image *image = context;
    if (image->sites == NULL)
        return;
    char *path = module->record.detail == 0
                     ? xstrdup(image->exe)
                     : xstrndup(module->path, module->record.detail);
    struct sites_image told = {
        .start = module->start,
        .end = module->end,
        .bias = module->bias,
        .module = {.path = path, .build_id_bytes = module->build_id_bytes},
    };
    memcpy(told.module.build_id, module->build_id,
           sizeof(told.module.build_id));
    sites_image(image->sites, &told);
    image->listener.mapped(image->listener.context, &told);
    free(path);
}

static void
on_stack(void *context, const struct wire_stack *stack)
{
    const struct image *image = context;
    if (image->sites != NULL)
        sites_stack(image->sites, stack->record.detail, stack->frames,
                    decode_n_frames(stack));
}

static void
on_turn(void *context, const struct wire_turn *turn)
{
    const struct image *image = context;
    if (image->turns != NULL)
        turns_take(image->turns, buffer_of(image), turn->turn);
}

static void
on_fork(void *context, const struct wire_fork *fork)
{
    const struct image *image = context;
    if (image->turns != NULL)
        turns_fork(image->turns, buffer_of(image), fork->number);
}

/* At level exact others are told likewise, which are nobody's business here. */
static bool
may_be_mapping(uint64_t addr, uint64_t n_bytes)
{
    return n_bytes >= WIRE_LARGE_BYTES || addr % MEMORY_PAGE == 16 ||
           n_bytes % WIRE_EVENT_GRAIN != 8;
}

/* The death was counted, and was none. */
static void
on_revival(void *context, const struct wire_revival *revival)
{
    struct image *image = context;
    const bool is_python = revival->record.detail == WIRE_CALLER_PYTHON;
    const struct livemap_block block = {
        .addr = revival->addr,
        .n_bytes = revival->n_bytes,
        .asked_bytes = revival->n_bytes,
        .is_python = is_python,
    };
    const struct blocks_block large = {
        .addr = revival->addr,
        .n_bytes = revival->n_bytes,
        .is_python = is_python,
    };
    image->told[is_python].deaths--;
    image->told[is_python].death_bytes -= revival->n_bytes;
    if (may_be_mapping(revival->addr, revival->n_bytes))
        blocks_birth(image->blocks, revival->stamp, &large);
    if (image->turns != NULL)
        turns_revival(image->turns, buffer_of(image), &block);
}

static void
on_birth(void *context, const struct wire_birth *birth)
{
    struct image *image = context;
    const bool is_python = (birth->record.detail & WIRE_CALLER_PYTHON) != 0;
    const bool is_sample = (birth->record.detail & WIRE_IS_SAMPLE) != 0;
    const struct livemap_block any = {
        .addr = birth->addr,
        .n_bytes = birth->n_bytes,
        .asked_bytes = birth->asked_bytes,
        .stack = birth->record.detail >> WIRE_STACK_SHIFT,
        .is_python = is_python,
    };
    image->n_told++;
    if (image->turns != NULL)
        turns_birth(image->turns, buffer_of(image), &any);
    const struct samples_block told = {
        .addr = any.addr,
        .n_bytes = any.n_bytes,
        .stack = any.stack,
        .is_sample = is_sample,
    };
    if (image->samples != NULL)
        samples_birth(image->samples, birth->stamp, &told);
    const struct blocks_block block = {
        .addr = birth->addr,
        .n_bytes = birth->n_bytes,
        .is_python = is_python,
    };
    if (!is_sample && may_be_mapping(birth->addr, birth->n_bytes))
        blocks_birth(image->blocks, birth->stamp, &block);
}

static void
on_death(void *context, const struct wire_death *death)
{
    struct image *image = context;
    image->n_told++;
    if ((death->record.detail & WIRE_IS_SAMPLE) == 0)
        blocks_death(image->blocks, death->stamp, death->addr, image->now_us);
    if (image->samples != NULL)
        samples_death(image->samples, death->stamp, death->addr);
    if (image->turns != NULL)
        turns_death(image->turns, buffer_of(image), death->addr);
}

/* glibc gives a cached stack again, and a program its own. */
static void
note_control_block(struct image *image, uint64_t control_block)
{
    for (size_t i = 0; i < image->n_control_blocks; i++) {
        if (image->control_blocks[i] == control_block)
            return;
    }
    if (image->n_control_blocks == MOST_STACKS)
        return;
    XGROW(image->control_blocks, image->control_capacity,
          image->n_control_blocks);
    image->control_blocks[image->n_control_blocks++] = control_block;
}

static void
note_stack(struct image *image, uint64_t start, uint64_t n_bytes)
{
    size_t i = 0;
    while (i < image->n_stacks && image->stacks[i].start != start)
        i++;
    if (i == MOST_STACKS)
        return;
    if (i == image->n_stacks) {
        XGROW(image->stacks, image->stack_capacity, image->n_stacks);
        image->n_stacks++;
    }
    image->stacks[i] = (struct census_range){start, n_bytes};
}

static void
on_thread(void *context, const struct wire_thread *thread)
{
    struct image *image = context;
    if (thread->control_block != 0)
        note_control_block(image, thread->control_block);
    if (thread->stack_bytes != 0)
        note_stack(image, thread->stack_start, thread->stack_bytes);
}

static void
on_python(void *context, const struct wire_python *python)
{
    struct image *image = context;
    struct gc_generation own[GC_GENERATIONS] = {0};
    for (unsigned i = 0; i < GC_GENERATIONS; i++) {
        own[i].collections = python->seed[i].collections;
        own[i].collected = python->seed[i].collected;
        own[i].uncollectable = python->seed[i].uncollectable;
    }
    const uint32_t flags = python->record.detail;
    const bool is_known = (flags & WIRE_PYTHON_IS_SEEDED) != 0;
    image->tells_objects = (flags & WIRE_PYTHON_TELLS_OBJECTS) != 0;
    gc_begin(&image->gc, python->since_ns, is_known ? own : NULL);
}

static int64_t
known_bytes(uint64_t n_bytes)
{
    return n_bytes == 0 || n_bytes > INT64_MAX ? COLLECTION_UNKNOWN
                                               : (int64_t)n_bytes;
}

static void
on_gc(void *context, const struct wire_gc *collection)
{
    struct image *image = context;
    const struct gc_generation one = {
        .collections = 1,
        .collected = collection->collected,
        .uncollectable = collection->uncollectable,
        .pause_ns_total = collection->pause_ns,
        .pause_ns_max = collection->pause_ns,
    };
    if (!gc_collect(&image->gc, collection->record.detail, &one))
        return;
    if (collections_are_full(&image->collections))
        collections_pass_all(&image->collections, NULL,
                             image->listener.collected,
                             image->listener.context);
    collections_add(&image->collections,
                    &(struct collection){
                        .generation = collection->record.detail,
                        .started_ns = collection->started_ns,
                        .pause_ns = collection->pause_ns,
                        .collected = collection->collected,
                        .uncollectable = collection->uncollectable,
                        .start_stamp = collection->start_stamp,
                        .end_stamp = collection->end_stamp,
                        .rss_before = known_bytes(collection->rss_before),
                        .rss_after = known_bytes(collection->rss_after),
                    });
}

/* NULL: some may have come or gone unheard, or not in their order. */
static const struct arenas *
known_arenas(struct image *image)
{
    return image->hello.python_text.n_bytes != 0 && !image->is_python_found &&
                   !image->has_more_arena_buffers &&
                   image_totals(image).lost_events == 0
               ? image->arenas
               : NULL;
}

static void
on_spawn(void *context, const struct wire_spawn *spawn)
{
    const struct image *image = context;
    const bool is_followed = spawn->record.detail != 0;
    if (is_followed && spawn->pid > 0)
        image->listener.spawned(image->listener.context, spawn->pid);
}

static void
on_end(void *context, const struct wire_end *end)
{
    struct image *image = context;
    /* The latest answers those before it. */
    if (end->ticket != 0 && (image->end_ticket == 0 ||
                             (int32_t)(end->ticket - image->end_ticket) > 0))
        image->end_ticket = end->ticket;
    if (end->exit_status >= 0)
        image->exit_status = end->exit_status & 0xff;
}

void
image_drain(struct image *image, uint64_t now_us)
{
    const struct decode_handler handler = {
        .context = image,
        .events = on_events,
        .map = on_map,
        .unmap = on_unmap,
        .remap = on_remap,
        .birth = on_birth,
        .death = on_death,
        .thread = on_thread,
        .python = on_python,
        .gc = on_gc,
        .spawn = on_spawn,
        .end = on_end,
        .turn = on_turn,
        .revival = on_revival,
        .fork = on_fork,
        .module = on_module,
        .stack = on_stack,
        .block = on_block,
    };
    image->now_us = now_us;
    mappings_set_time(image->mappings, now_us);
    image->is_open = source_drain(image->source, &handler);
    if (source_is_passed(image->source))
        collections_pass(&image->collections, known_arenas(image),
                         image->listener.collected, image->listener.context);
    if (image->turns == NULL)
        return;
    if (source_is_passed(image->source))
        turns_pass(image->turns);
    if (!image->is_open)
        turns_finish(image->turns);
}

void
image_close(struct image *image)
{
    image->is_open = false;
    collections_pass_all(&image->collections, known_arenas(image),
                         image->listener.collected, image->listener.context);
}

/*
 * To the end of what there is: a pass that has begun before, one for what there
 * is, and one for what that follows.
 */
void
image_settle(struct image *image, uint64_t now_us)
{
    unsigned n_passes = 0;
    for (unsigned i = 0; i < MOST_DRAINS && n_passes < 3 && image->is_open;
         i++) {
        image_drain(image, now_us);
        n_passes += source_is_passed(image->source);
    }
}

/* ---- life -------------------------------------------------------------- */

static void
read_python_version(struct image *image)
{
    char *version = image->hello.python_version;
    unsigned major = 0;
    unsigned minor = 0;
    version[sizeof(image->hello.python_version) - 1] = '\0';
    if (sscanf(version, "%u.%u", &major, &minor) == 2 &&
        cpython_is_known(major, minor)) {
        image->python_major = major;
        image->python_minor = minor;
    }
}

void
image_take_python(struct image *image, const struct python *python)
{
    struct wire_hello *hello = &image->hello;
    hello->python_text =
        (struct wire_range){python->text_start, python->text_bytes};
    hello->python_runtime = python->runtime;
    snprintf(hello->python_version, sizeof(hello->python_version), "%.*s",
             (int)sizeof(hello->python_version) - 1, python->version);
    image->is_python_found = true;
    arenas_forget_order(image->arenas);
    read_python_version(image);
}

/* What was found out of the parent, its child does not tell either. */
static void
inherit_python(struct image *image, const struct image *forked_from)
{
    const struct wire_hello *theirs = &forked_from->hello;
    struct wire_hello *hello = &image->hello;
    if (!forked_from->is_python_found)
        return;
    hello->python_text = theirs->python_text;
    hello->python_runtime = theirs->python_runtime;
    memcpy(hello->python_version, theirs->python_version,
           sizeof(hello->python_version));
    image->is_python_found = true;
}

static struct livemap *
first_heap(const struct image *image, const struct image *forked_from)
{
    if (forked_from == NULL || forked_from->turns == NULL)
        return livemap_create();
    struct livemap *heap =
        turns_take_fork(forked_from->turns, image->hello.fork_number);
    /* The number was lost: what the parent has by now is next to it. */
    return heap != NULL ? heap : livemap_clone(turns_map(forked_from->turns));
}

static struct samples *
first_samples(const struct image *image, const struct image *forked_from,
              const struct introduction *introduction)
{
    return forked_from == NULL || forked_from->samples == NULL
               ? samples_create(introduction->sample_bytes)
               : samples_clone(forked_from->samples, image->hello.fork_stamp);
}

/* A child goes on with its parent's numbers. */
static struct sites *
first_sites(const struct image *forked_from, struct catalogue *catalogue)
{
    return forked_from == NULL || forked_from->sites == NULL
               ? sites_create(catalogue)
               : sites_clone(forked_from->sites);
}

struct image *
image_create(const struct introduction *introduction,
             const struct image *forked_from, struct catalogue *catalogue,
             const struct image_listener *listener)
{
    const int *fds = introduction->fds;
    struct memory *memory = memory_create(
        &(struct memory_descriptors){
            .mem = fds[WIRE_FD_MEM],
            .maps = fds[WIRE_FD_MAPS],
            .smaps = fds[WIRE_FD_SMAPS],
            .rollup = fds[WIRE_FD_ROLLUP],
            .pagemap = fds[WIRE_FD_PAGEMAP],
        },
        introduction->pid);
    struct source *source =
        source_create(fds[WIRE_FD_PIPE], fds[WIRE_FD_SHARED]);
    if (source == NULL) {
        memory_destroy(memory);
        return NULL;
    }
    struct image *image = xcalloc(1, sizeof(*image));
    image->hello = introduction->hello;
    image->exe = xstrndup(introduction->exe, introduction->hello.exe_bytes);
    image->source = source;
    image->memory = memory;
    image->is_open = true;
    image->exit_status = -1;
    image->listener = *listener;
    if (forked_from != NULL)
        inherit_python(image, forked_from);
    read_python_version(image);
    if (introduction->level >= WIRE_LEVEL_EXACT)
        image->turns = turns_create(first_heap(image, forked_from));
    if (introduction->level == WIRE_LEVEL_WATCH &&
        introduction->sample_bytes != 0)
        image->samples = first_samples(image, forked_from, introduction);
    if (introduction->level >= WIRE_LEVEL_STACKS || image->samples != NULL)
        image->sites = first_sites(forked_from, catalogue);
    if (forked_from != NULL) {
        image->arenas =
            arenas_clone(forked_from->arenas, image->hello.fork_stamp);
        image->mappings =
            mappings_clone(forked_from->mappings, image->hello.fork_stamp);
        image->blocks =
            blocks_clone(forked_from->blocks, image->hello.fork_stamp);
        image->gc = forked_from->gc;
        image->had_arenas = forked_from->had_arenas;
        image->tells_objects = forked_from->tells_objects;
    } else {
        image->arenas = arenas_create();
        image->mappings = mappings_create();
        image->blocks = blocks_create();
    }
    return image;
}

void
image_shed(struct image *image)
{
    image->last_totals = image_totals(image);
    source_destroy(image->source);
    memory_destroy(image->memory);
    image->source = NULL;
    image->memory = NULL;
    image->is_open = false;
}

void
image_destroy(struct image *image)
{
    if (image == NULL)
        return;
    source_destroy(image->source);
    memory_destroy(image->memory);
    arenas_destroy(image->arenas);
    mappings_destroy(image->mappings);
    blocks_destroy(image->blocks);
    turns_destroy(image->turns);
    sites_destroy(image->sites);
    samples_destroy(image->samples);
    collections_finish(&image->collections);
    free(image->exe);
    free(image->control_blocks);
    free(image->stacks);
    free(image);
}

bool
image_is_sound(const struct image *image)
{
    return image->source == NULL || source_is_sound(image->source);
}

struct source_totals
image_totals(struct image *image)
{
    if (image->source == NULL)
        return image->last_totals;
    struct source_totals totals = source_totals(image->source);
    for (unsigned i = 0; i < WIRE_N_CALLERS; i++)
        source_add_counters(&totals.counters[i], &image->told[i]);
    return totals;
}

struct sites_use *
image_uses(const struct image *image, size_t *n)
{
    *n = 0;
    if (image->samples != NULL)
        return sites_estimate(image->sites, image->samples, n);
    return image->sites == NULL || image->turns == NULL
               ? NULL
               : sites_list(image->sites, turns_map(image->turns), n);
}
