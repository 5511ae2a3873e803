#include "report/page.h"

#include "include/xalloc.h"

char *
page_write(struct query *query, const char *path)
{
    (void)query;
    return xasprintf("%s: not yet", path);
}
