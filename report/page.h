/*
 * page.h - the report: one offline HTML file of a recording
 *
 * Markup, style, code and data in one file; no request leaves it. The web
 * sources are in report/web/, their bundle is embedded in this program.
 *
 * A page is as private as its recording: only its owner may read the file.
 */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "report/query/query.h"

/*
 * Writes the page to path, whole or not at all; a file that is there is
 * replaced. Arguments of the target and its directories are left out. Returns
 * NULL, or what went wrong, which the caller frees.
 */
char *page_write(struct query *query, const char *path);

/* The same with them. */
char *page_write_with_names(struct query *query, const char *path);

#endif
