#include "collector/process_python.h"

#include "collector/process_state.h"
#include "collector/python.h"
#include "include/xalloc.h"

enum { MOST_LOOKS = 16 }; /* at whoever maps what an interpreter might */

char *
process_note(const struct process *process)
{
    const struct image *image = process->image;
    const struct wire_hello *hello = &image->hello;
    const bool is_known = image->python_major != 0;
    if ((hello->flags & WIRE_FLAG_OWN_ALLOCATOR) != 0)
        return xstrdup("the program brings its own malloc, which no preload "
                       "can count");
    if (hello->python_version[0] != '\0' && (!is_known || image->is_native))
        return python_native_note(hello->python_version, is_known);
    return NULL;
}

static void
renew_note(struct process *process)
{
    process->row = (struct recording_process){0}; /* its texts go */
    free(process->note);
    process->note = process_note(process);
}

void
process_find_python(struct process *process)
{
    struct image *image = process->image;
    struct python python;
    const uint64_t caller = image->arena_caller;
    image->arena_caller = 0;
    if (caller == 0 || image->n_looks++ >= MOST_LOOKS)
        return;
    if (python_find_at(process->proc.pid, caller, &python)) {
        image_take_python(image, &python);
        renew_note(process);
    } else {
        image->stranger =
            (struct wire_range){python.text_start, python.text_bytes};
    }
}

void
process_judge_python(struct process *process, const struct census *census)
{
    struct image *image = process->image;
    const bool was_native = image->is_native;
    image->had_arenas = image->had_arenas || census->n_arenas != 0;
    image->is_native = census->is_native;
    if (was_native != image->is_native)
        renew_note(process);
}
