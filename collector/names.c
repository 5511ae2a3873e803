#include "collector/names.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/text.h"
#include "include/xalloc.h"

/* Of one names_resolve; a reader that says more lies. */
enum { MOST_STRING_BYTES = 1 << 28 };

struct held {
    int fd;
    struct build_id build_id;
    dev_t device;
    ino_t inode;
    char *path;
    bool is_broken; /* its reader died of it */
};

struct names {
    pthread_mutex_t mutex; /* never held while a file or a child is read */
    struct held *images;
    size_t n_images;
    size_t capacity;
};

const struct names_limits names_usual_limits = {
    .memory_bytes = UINT64_C(2) << 30,
    .image_ms = 10000,
    .total_ms = 60000,
};

/* ---- images ------------------------------------------------------------ */

struct names *
names_create(void)
{
    struct names *names = xcalloc(1, sizeof(*names));
    pthread_mutex_init(&names->mutex, NULL);
    return names;
}

void
names_destroy(struct names *names)
{
    if (names == NULL)
        return;
    for (size_t i = 0; i < names->n_images; i++) {
        close(names->images[i].fd);
        free(names->images[i].path);
    }
    free(names->images);
    pthread_mutex_destroy(&names->mutex);
    free(names);
}

static bool
is_same(const struct held *one, const struct held *other)
{
    if (one->build_id.n_bytes != 0 || other->build_id.n_bytes != 0)
        return build_id_is(&one->build_id, &other->build_id);
    return one->device == other->device && one->inode == other->inode;
}

static uint32_t
find(const struct names *names, const struct held *image)
{
    for (size_t i = 0; i < names->n_images; i++) {
        if (is_same(&names->images[i], image))
            return (uint32_t)i;
    }
    return NAMES_NO_IMAGE;
}

/* Takes the image's descriptor, or closes it. */
static uint32_t
hold(struct names *names, const struct held *image, const char *path)
{
    pthread_mutex_lock(&names->mutex);
    uint32_t at = find(names, image);
    const bool is_new =
        at == NAMES_NO_IMAGE && names->n_images < NAMES_MOST_IMAGES;
    if (is_new) {
        at = (uint32_t)names->n_images++;
        XGROW(names->images, names->capacity, (size_t)at);
        names->images[at] = *image;
        names->images[at].path = xstrdup(path);
    }
    pthread_mutex_unlock(&names->mutex);
    if (!is_new)
        close(image->fd);
    return at;
}

uint32_t
names_add(struct names *names, const struct names_told *told)
{
    struct held image = {.build_id = told->build_id};
    if (told->build_id.n_bytes != 0) {
        pthread_mutex_lock(&names->mutex);
        const uint32_t at = find(names, &image);
        pthread_mutex_unlock(&names->mutex);
        if (at != NAMES_NO_IMAGE)
            return at;
    }
    struct stat is;
    image.fd = names_file_open(told, &image.build_id);
    if (image.fd < 0)
        return NAMES_NO_IMAGE;
    if (fstat(image.fd, &is) != 0) {
        close(image.fd);
        return NAMES_NO_IMAGE;
    }
    image.device = is.st_dev;
    image.inode = is.st_ino;
    return hold(names, &image, told->path);
}

/* ---- answers ----------------------------------------------------------- */

/* A frame whose strings are places in a text that still grows. */
struct kept {
    size_t function;
    size_t file;
    uint32_t line;
};

struct asking {
    struct names *names;
    const struct names_request *requests;
    struct names_lookup *lookups;
    uint32_t *order; /* the request of each lookup */
    size_t n_lookups;
    struct names_chain *chains;
    struct kept *frames;
    size_t n_frames;
    size_t frame_capacity;
    struct text strings;
};

static size_t
keep(struct asking *asking, const char *string)
{
    const size_t at = asking->strings.n_bytes;
    text_add_bytes(&asking->strings, string, strlen(string) + 1);
    return at;
}

static void
take(void *context, size_t lookup, const struct names_frame *frames,
     size_t n_frames)
{
    struct asking *asking = context;
    if (asking->strings.n_bytes > MOST_STRING_BYTES)
        return;
    asking->chains[asking->order[lookup]].n_frames = n_frames;
    for (size_t i = 0; i < n_frames; i++) {
        XGROW(asking->frames, asking->frame_capacity, asking->n_frames);
        asking->frames[asking->n_frames++] = (struct kept){
            .function = keep(asking, frames[i].function),
            .file = keep(asking, frames[i].file),
            .line = frames[i].line,
        };
    }
}

static void
give_up(void *context, size_t lookup)
{
    struct asking *asking = context;
    const uint32_t image = asking->requests[asking->order[lookup]].image;
    pthread_mutex_lock(&asking->names->mutex);
    asking->names->images[image].is_broken = true;
    pthread_mutex_unlock(&asking->names->mutex);
}

static int
by_image(const void *left, const void *right, void *requests)
{
    const struct names_request *all = requests;
    const uint32_t one = *(const uint32_t *)left;
    const uint32_t other = *(const uint32_t *)right;
    if (all[one].image != all[other].image)
        return all[one].image < all[other].image ? -1 : 1;
    if (all[one].addr != all[other].addr)
        return all[one].addr < all[other].addr ? -1 : 1;
    return (one > other) - (one < other);
}

/* The lookups that can be made; returns the number of lost ones. */
static size_t
plan(struct asking *asking, size_t n_requests)
{
    size_t n_lost = 0;
    size_t n_sorted = 0;
    for (size_t i = 0; i < n_requests; i++)
        asking->order[i] = (uint32_t)i;
    qsort_r(asking->order, n_requests, sizeof(*asking->order), by_image,
            (void *)(uintptr_t)asking->requests);
    pthread_mutex_lock(&asking->names->mutex);
    for (; n_sorted < n_requests; n_sorted++) {
        const uint32_t at = asking->order[n_sorted];
        const struct names_request *request = &asking->requests[at];
        if (request->image >= asking->names->n_images)
            continue;
        const struct held *image = &asking->names->images[request->image];
        n_lost += image->is_broken;
        if (image->is_broken)
            continue;
        asking->lookups[asking->n_lookups] = (struct names_lookup){
            .fd = image->fd, .path = image->path, .addr = request->addr};
        asking->order[asking->n_lookups++] = at;
    }
    pthread_mutex_unlock(&asking->names->mutex);
    return n_lost;
}

/* Strings stay where they are from now on. */
static struct names_frame *
settle(struct asking *asking)
{
    struct names_frame *frames = xcalloc(asking->n_frames, sizeof(*frames));
    const char *strings = text_of(&asking->strings);
    for (size_t i = 0; i < asking->n_frames; i++) {
        frames[i].function = strings + asking->frames[i].function;
        frames[i].file = strings + asking->frames[i].file;
        frames[i].line = asking->frames[i].line;
    }
    const struct names_frame *next = frames;
    for (size_t i = 0; i < asking->n_lookups; i++) {
        struct names_chain *chain = &asking->chains[asking->order[i]];
        chain->frames = next;
        next += chain->n_frames;
    }
    return frames;
}

struct names_answers
names_resolve(struct names *names, const struct names_request *requests,
              size_t n_requests, const struct names_limits *limits)
{
    struct asking asking = {
        .names = names,
        .requests = requests,
        .lookups = xcalloc(n_requests, sizeof(*asking.lookups)),
        .order = xcalloc(n_requests, sizeof(*asking.order)),
        .chains = xcalloc(n_requests, sizeof(*asking.chains)),
    };
    const struct names_listener listener = {take, give_up, &asking};
    struct names_answers answers = {.n_lost = plan(&asking, n_requests)};
    answers.n_lost +=
        names_child_ask(asking.lookups, asking.n_lookups, limits, &listener);
    answers.frames = settle(&asking);
    answers.strings = text_take(&asking.strings);
    answers.chains = asking.chains;
    free(asking.lookups);
    free(asking.order);
    free(asking.frames);
    return answers;
}

void
names_answers_finish(struct names_answers *answers)
{
    free(answers->chains);
    free(answers->frames);
    free(answers->strings);
    *answers = (struct names_answers){0};
}
