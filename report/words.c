#include "report/words.h"

#include <stdbool.h>
#include <string.h>

const char *
words_base_name(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
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
        const unsigned char byte = (unsigned char)words[i];
        const char shown = byte < 0x20 || byte == 0x7f ? '?' : words[i];
        text_add_bytes(text, &shown, 1);
    }
    if (is_cut)
        text_add(text, "...");
}
