/*
 * world.h - what the processes of one collector have in common
 */
#ifndef COLLECTOR_WORLD_H
#define COLLECTOR_WORLD_H

#include <sys/types.h>

#include "collector/budget.h"
#include "collector/loop.h"
#include "collector/membership.h"
#include "collector/model/catalogue.h"
#include "collector/naming.h"
#include "collector/recording.h"
#include "collector/site_news.h"
#include "collector/survey.h"

/* What every process leans on; outlives them all. */
struct process_world {
    struct loop *loop;
    struct survey *survey;
    struct recording *recording;
    struct catalogue *catalogue;   /* of all processes' sites */
    struct site_news_cursor known; /* of it, to the recording */
    struct naming *naming;         /* of its frames */
    struct budget budget;
    struct membership_own own;
    /* A process spoke of a child that will introduce itself. */
    void (*expect)(void *context, pid_t pid);
    /* A marked census is on its way to the file. */
    void (*marked)(void *context, void *mark);
    void *context;
};

#endif
