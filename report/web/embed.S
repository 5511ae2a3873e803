/*
 * The page's parts as bytes of this program (web.h). The paths come from
 * report/meson.build, which also knows to build this anew when one changes.
 */
#define EMBED(name, path)           \
    .global name;                   \
    .type name, %object;            \
    name:                           \
    .incbin path;                   \
    .byte 0;                        \
    .size name, . - name

    .section .rodata
EMBED(web_page_html, PAGE_HTML)
EMBED(web_page_css, PAGE_CSS)
EMBED(web_page_js, PAGE_JS)

    .section .note.GNU-stack, "", %progbits
