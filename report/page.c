#include "report/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/text.h"
#include "include/xalloc.h"
#include "report/page_data.h"
#include "report/web/web.h"

/* ---- composing --------------------------------------------------------- */

/*
 * The shell has one line for each part, "{{style}}" and so on; what stands
 * before it is taken over, and the part put in its place.
 */
static void
put_part(struct text *page, const char **shell, const char *mark,
         const char *part)
{
    const char *at = strstr(*shell, mark);
    if (at == NULL)
        errx(125, "the page's shell has no %s: build residue again", mark);
    text_add_bytes(page, *shell, (size_t)(at - *shell));
    text_add(page, part);
    *shell = at + strlen(mark);
}

static void
compose(struct text *page, struct query *query, bool shows_names)
{
    const char *shell = web_page_html;
    struct json data = {0};
    page_data_put(&data, query, shows_names);
    put_part(page, &shell, "{{style}}", web_page_css);
    put_part(page, &shell, "{{data}}", text_of(&data.text));
    put_part(page, &shell, "{{script}}", web_page_js);
    text_add(page, shell);
    text_finish(&data.text);
}

/* ---- writing ----------------------------------------------------------- */

/* Takes fd. What is on the disk after a crash is the old file or the new. */
static bool
write_all(int fd, const struct text *page)
{
    size_t n = 0;
    while (n < page->n_bytes) {
        const ssize_t put = write(fd, page->bytes + n, page->n_bytes - n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break;
        n += (size_t)put;
    }
    const bool is_whole = n == page->n_bytes && fsync(fd) == 0;
    const int reason = errno;
    const bool is_closed = close(fd) == 0;
    if (!is_whole)
        errno = reason;
    return is_whole && is_closed;
}

/* A device or a pipe would be replaced by a file. */
static bool
may_be_replaced(const char *path)
{
    struct stat is;
    return lstat(path, &is) != 0 || S_ISREG(is.st_mode);
}

static char *
replace(const char *path, const struct text *page)
{
    if (!may_be_replaced(path))
        return xasprintf("%s: not a file; name another one", path);
    char *temporary = xasprintf("%s.XXXXXX", path);
    char *complaint = NULL;
    const int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0) {
        complaint = xasprintf("%s: %s", path, strerror(errno));
    } else if (!write_all(fd, page) || rename(temporary, path) != 0) {
        complaint = xasprintf("%s: %s", path, strerror(errno));
        unlink(temporary);
    }
    free(temporary);
    return complaint;
}

/* ---- the whole --------------------------------------------------------- */

static char *
write_page(struct query *query, const char *path, bool shows_names)
{
    struct text page = {0};
    if (query_complaint(query) == NULL)
        compose(&page, query, shows_names);
    const char *wrong = query_complaint(query);
    char *complaint = wrong != NULL ? xstrdup(wrong) : replace(path, &page);
    text_finish(&page);
    return complaint;
}

char *
page_write(struct query *query, const char *path)
{
    return write_page(query, path, false);
}

char *
page_write_with_names(struct query *query, const char *path)
{
    return write_page(query, path, true);
}
