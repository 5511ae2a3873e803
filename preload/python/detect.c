#include "preload/python/detect.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

enum { N_NUMBERS = 3 };

static struct {
    unsigned numbers[N_NUMBERS];
    bool is_free_threaded;
} detect;

void
python_symbol(const char *name, void *where)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    memcpy(where, &symbol, sizeof(symbol));
}

void
python_symbol_beside(const void *addr, const char *name, void *where)
{
    void *symbol = NULL;
    Dl_info object;
    void *handle = NULL;
    if (dladdr(addr, &object) != 0)
        handle = dlopen(object.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) {
        symbol = dlsym(handle, name);
        dlclose(handle);
    }
    memcpy(where, &symbol, sizeof(symbol));
}

struct text_search {
    uint64_t addr;
    struct wire_range text;
};

/* Finds the executable segment that holds the address. */
static int
look_at_object(struct dl_phdr_info *info, size_t n_bytes, void *data)
{
    (void)n_bytes;
    struct text_search *search = data;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const uint64_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 &&
            search->addr - start < segment->p_memsz) {
            search->text.start = start;
            search->text.n_bytes = segment->p_memsz;
            return 1;
        }
    }
    return 0;
}

/* Reads "3.11.7 (main, ...)": the number up to the blank, and its parts. */
static void
parse_version(const char *text, char *version, size_t n_bytes)
{
    size_t length = 0;
    while (length + 1 < n_bytes && text[length] != ' ' && text[length] != '\0')
        length++;
    memcpy(version, text, length);
    version[length] = '\0';

    unsigned *number = detect.numbers;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' && number + 1 < detect.numbers + N_NUMBERS)
            number++;
        else if (text[i] >= '0' && text[i] <= '9')
            *number = *number * 10 + (unsigned)(text[i] - '0');
        else
            break;
    }
    detect.is_free_threaded = strstr(text, "free-threading") != NULL;
}

/*
 * Py_GetVersion may be called before Py_Initialize in every version (Python/
 * getversion.c formats a constant).
 */
bool
python_detect(struct process_python *found)
{
    memset(found, 0, sizeof(*found));
    const char *(*get_version)(void);
    python_symbol("Py_GetVersion", &get_version);
    if (get_version == NULL)
        return false;

    struct text_search search = {.addr = (uintptr_t)get_version};
    if (dl_iterate_phdr(look_at_object, &search) == 0)
        return false;
    found->text = search.text;
    parse_version(get_version(), found->version, sizeof(found->version));
    python_symbol("_PyRuntime", &found->runtime);
    return true;
}

unsigned
python_version(void)
{
    return detect.numbers[0] << 8 | (detect.numbers[1] & 0xff);
}

unsigned
python_patch(void)
{
    return detect.numbers[2];
}

bool
python_is_free_threaded(void)
{
    return detect.is_free_threaded;
}
