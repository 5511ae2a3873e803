#include "report/words.h"

#include <stdbool.h>
#include <string.h>

const char *
words_base_name(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool
is_control(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7f;
}

void
words_put(struct text *text, const char *words, size_t room)
{
    const size_t n = strlen(words);
    const bool is_cut = n > room;
    size_t n_shown = is_cut ? room - 3 : n;
    while (is_cut && n_shown > 0 &&
           ((unsigned char)words[n_shown] & 0xc0) == 0x80)
        n_shown--; /* not within a character */
    for (size_t i = 0; i < n_shown; i++) {
        const char shown = is_control((unsigned char)words[i]) ? '?' : words[i];
        text_add_bytes(text, &shown, 1);
    }
    if (is_cut)
        text_add(text, "...");
}

/* U+0080 to U+009F, in UTF-8. */
static bool
is_late_control(const unsigned char *at)
{
    return at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
}

void
words_tame(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        if (is_late_control(at))
            at[0] = at[1] = '?';
        else if (is_control(*at) && *at != '\n' && *at != '\t')
            *at = '?';
    }
}
