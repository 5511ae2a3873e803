/*
 * web.h - the page's parts, as they are in this program
 *
 * NUL-terminated texts that embed.S takes in at build time: the shell from
 * src/, style and script from dist/, where scripts/bundle-web puts them.
 */
#ifndef REPORT_WEB_WEB_H
#define REPORT_WEB_WEB_H

extern const char web_page_html[];
extern const char web_page_css[];
extern const char web_page_js[];

#endif
