/*
 * naming.h - names for the frames of a catalogue
 *
 * The file of a module is opened when a process tells of it, and read when the
 * recording ends: names.h. Belongs to the loop that created it.
 */
#ifndef COLLECTOR_NAMING_H
#define COLLECTOR_NAMING_H

#include <stddef.h>
#include <sys/types.h>

#include "collector/model/catalogue.h"
#include "collector/model/sites.h"
#include "collector/site_news.h"

struct naming;

/* Never NULL; the catalogue must outlive it. Destroying NULL is a no-op. */
struct naming *naming_create(struct catalogue *catalogue);
void naming_destroy(struct naming *naming);

/*
 * A process has this image. A file that was not to be had by way of it is not
 * looked for by way of it again, but by way of another, which may see another.
 */
void naming_hear(struct naming *naming, pid_t pid,
                 const struct sites_image *image);

/*
 * Looks up all frames, which may take seconds, and adds what they are called.
 * Returns how many could not be looked up: their file broke its reader, or
 * there was no time left.
 */
size_t naming_say(struct naming *naming, struct site_news *news);

#endif
