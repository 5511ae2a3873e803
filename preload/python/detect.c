#include "preload/python/detect.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

static struct {
    unsigned version;
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

/* Reads "3.11.7 (main, ...)": the number up to the blank, and 0x030b of it. */
static unsigned
parse_version(const char *text, char *version, size_t n_bytes)
{
    size_t length = 0;
    while (length + 1 < n_bytes && text[length] != ' ' && text[length] != '\0')
        length++;
    memcpy(version, text, length);
    version[length] = '\0';

    unsigned numbers[2] = {0, 0};
    unsigned at = 0;
    for (size_t i = 0; i < length && at < 2; i++) {
        if (text[i] == '.')
            at++;
        else if (text[i] >= '0' && text[i] <= '9')
            numbers[at] = numbers[at] * 10 + (unsigned)(text[i] - '0');
        else
            break;
    }
    return numbers[0] << 8 | (numbers[1] & 0xff);
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
    detect.version =
        parse_version(get_version(), found->version, sizeof(found->version));
    python_symbol("_PyRuntime", &found->runtime);
    return true;
}

unsigned
python_version(void)
{
    return detect.version;
}
