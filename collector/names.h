/*
 * names.h - what addresses are called: function, file, line, what is inlined
 *
 * The file of an image is opened when the image is heard of, so that one which
 * is deleted later, or lies in a container that is gone by then, still names
 * what was in it. The same image of many processes is held once: equal by its
 * build id or, without one, by device and inode. Addresses are asked for much
 * later, all in one go: a recording has them, so that another machine shows the
 * same names.
 *
 * Files are read by another process, which may die of them: names_child.h. What
 * it says is not kept here; who asks twice waits twice.
 *
 * Any thread may call any of this at any time. names_add is quick, as far as
 * the file system is; names_resolve keeps its caller until it has the answers,
 * one or two seconds where debug information is large, and never longer than
 * its limits say.
 */
#ifndef COLLECTOR_NAMES_H
#define COLLECTOR_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/names_child.h"
#include "collector/names_dwarf.h"
#include "collector/names_file.h"

enum { NAMES_MOST_IMAGES = 4096 }; /* a descriptor each; more have no names */

#define NAMES_NO_IMAGE UINT32_MAX

struct names;

/* Never NULL. Destroying NULL is a no-op. */
struct names *names_create(void);
void names_destroy(struct names *names);

/*
 * The image's number, the same for equal ones; NAMES_NO_IMAGE: it has no file
 * (the vdso), or none that is it. One that was not to be had before is looked
 * for again.
 */
uint32_t names_add(struct names *names, const struct names_told *told);

/*
 * The address is the file's own, as its symbols have them: the image's bias is
 * taken off. It is looked up as it is: of a return address the caller takes
 * off 1 more, to be in the call.
 */
struct names_request {
    uint32_t image; /* NAMES_NO_IMAGE: no frames are the answer */
    uint64_t addr;
};

/*
 * From the function inlined deepest to the one that was entered. No frames: of
 * this address nothing is known, or its image was given up.
 */
struct names_chain {
    const struct names_frame *frames;
    size_t n_frames;
};

struct names_answers {
    struct names_chain *chains; /* one a request, in their order */
    size_t n_lost;              /* requests that broke the reader, or had no
                                   time left: not the same as unknown ones */
    /* What chains point to. */
    struct names_frame *frames;
    char *strings;
};

/* 2 GiB; 10 s an image, 60 s in all; no server is asked. */
extern const struct names_limits names_usual_limits;

/*
 * An image that broke its reader is not read again. names_answers_finish frees
 * the answers.
 */
struct names_answers names_resolve(struct names *names,
                                   const struct names_request *requests,
                                   size_t n_requests,
                                   const struct names_limits *limits);
void names_answers_finish(struct names_answers *answers);

#endif
