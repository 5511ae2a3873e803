#include "collector/naming.h"

#include <stdlib.h>
#include <string.h>

#include "collector/names.h"
#include "include/xalloc.h"

enum { MOST_TRIES = 64 }; /* a module: of as many processes */

/* What is known of a module's file. */
struct file {
    uint32_t image; /* of names; NAMES_NO_IMAGE: it was not to be had */
    pid_t tried_by; /* by way of this process, the last time */
    unsigned n_tries;
};

struct naming {
    struct catalogue *catalogue;
    struct names *names;
    struct file *files; /* by the module's id less 1 */
    size_t n_files;
    size_t capacity;
};

struct naming *
naming_create(struct catalogue *catalogue)
{
    struct naming *naming = xcalloc(1, sizeof(*naming));
    naming->catalogue = catalogue;
    naming->names = names_create();
    return naming;
}

void
naming_destroy(struct naming *naming)
{
    if (naming == NULL)
        return;
    names_destroy(naming->names);
    free(naming->files);
    free(naming);
}

/* Where a module's file stands; none as yet. */
static struct file *
file_of(struct naming *naming, uint32_t module)
{
    while (naming->n_files < module) {
        XGROW(naming->files, naming->capacity, naming->n_files);
        naming->files[naming->n_files++] =
            (struct file){.image = NAMES_NO_IMAGE};
    }
    return &naming->files[module - 1];
}

/* Of the same process it is tried once, however often it tells of the file. */
static bool
is_to_be_tried(const struct file *file, pid_t pid)
{
    return file->image == NAMES_NO_IMAGE && file->n_tries < MOST_TRIES &&
           (file->n_tries == 0 || file->tried_by != pid);
}

void
naming_hear(struct naming *naming, pid_t pid, const struct sites_image *image)
{
    const uint32_t module = catalogue_module(naming->catalogue, &image->module);
    if (module == 0)
        return;
    struct file *file = file_of(naming, module);
    if (!is_to_be_tried(file, pid))
        return;
    struct names_told told = {
        .pid = pid,
        .path = image->module.path,
        .start = image->start,
        .build_id = {.n_bytes = (uint8_t)image->module.build_id_bytes},
    };
    memcpy(told.build_id.bytes, image->module.build_id,
           sizeof(told.build_id.bytes));
    file->tried_by = pid;
    file->n_tries++;
    file->image = names_add(naming->names, &told);
}

/* A frame is a return address: the call is before it. */
static struct names_request
request_of(struct naming *naming, uint32_t id)
{
    const struct catalogue_frame frame =
        catalogue_get_frame(naming->catalogue, id);
    return (struct names_request){
        .image = frame.module == 0 ? NAMES_NO_IMAGE
                                   : file_of(naming, frame.module)->image,
        .addr = frame.offset - 1,
    };
}

static char *
text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : (char *)(uintptr_t)text;
}

static void
add_chain(struct site_news *news, uint32_t frame,
          const struct names_chain *chain)
{
    for (size_t i = 0; i < chain->n_frames; i++) {
        const struct names_frame *one = &chain->frames[i];
        site_news_add_name(news,
                           &(struct site_news_name){
                               .frame = frame,
                               .inline_depth = (uint32_t)i,
                               .function = text_or_null(one->function),
                               .file = text_or_null(one->file),
                               .line = one->line == 0 ? -1 : (int64_t)one->line,
                           });
    }
}

size_t
naming_say(struct naming *naming, struct site_news *news)
{
    const size_t n = catalogue_n_frames(naming->catalogue);
    struct names_request *requests = xcalloc(n, sizeof(*requests));
    for (size_t i = 0; i < n; i++)
        requests[i] = request_of(naming, (uint32_t)i + 1);
    struct names_answers answers =
        names_resolve(naming->names, requests, n, &names_usual_limits);
    for (size_t i = 0; i < n; i++)
        add_chain(news, (uint32_t)i + 1, &answers.chains[i]);
    const size_t n_lost = answers.n_lost;
    names_answers_finish(&answers);
    free(requests);
    return n_lost;
}
