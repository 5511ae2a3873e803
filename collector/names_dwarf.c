#include "collector/names_dwarf.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <libiberty/demangle.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/attrs.h"

enum { MOST_DEPTH = 256 }; /* of blocks in functions in namespaces */

/* A range of addresses of one unit. */
struct span {
    Dwarf_Addr start;
    Dwarf_Addr end;
    Dwarf_Die unit; /* has the lines */
    Dwarf_Die code; /* has the functions: of a .dwo file, else the same */
};

struct names_dwarf {
    Dwfl *dwfl;
    Dwfl_Module *module;
    Dwarf *debug;       /* NULL: there is none */
    Dwarf_Addr bias;    /* of debug information against the file */
    bool is_indexed;    /* the spans are all that there are */
    struct span *spans; /* by start */
    size_t n_spans;
    size_t capacity;
    char *kept[NAMES_MOST_FRAMES]; /* demangled, of the last answer */
    size_t n_kept;
};

/* The functions around one address, from the outermost in. */
struct chain {
    Dwarf_Die functions[NAMES_MOST_FRAMES];
    size_t n_functions;
    Dwarf_Addr addr;
    bool is_thorough; /* looks also into functions that are elsewhere */
};

/* ---- units ------------------------------------------------------------- */

static bool
add_span(struct names_dwarf *dwarf, const struct span *span)
{
    if (dwarf->n_spans == dwarf->capacity) {
        const size_t more = dwarf->capacity == 0 ? 64 : dwarf->capacity * 2;
        struct span *spans = reallocarray(dwarf->spans, more, sizeof(*spans));
        if (spans == NULL)
            return false;
        dwarf->spans = spans;
        dwarf->capacity = more;
    }
    dwarf->spans[dwarf->n_spans++] = *span;
    return true;
}

static bool
add_unit(struct names_dwarf *dwarf, Dwarf_Die *unit, const Dwarf_Die *code)
{
    struct span span = {.unit = *unit, .code = *code};
    Dwarf_Addr base;
    ptrdiff_t at = 0;
    while ((at = dwarf_ranges(unit, at, &base, &span.start, &span.end)) > 0) {
        if (span.start < span.end && !add_span(dwarf, &span))
            return false;
    }
    return true;
}

static int
by_start(const void *left, const void *right)
{
    const struct span *one = left;
    const struct span *other = right;
    return (one->start > other->start) - (one->start < other->start);
}

/* Of all units: a seventh of what naming anything of libc costs. */
static void
index_units(struct names_dwarf *dwarf)
{
    Dwarf_CU *unit = NULL;
    Dwarf_Die die;
    Dwarf_Die other;
    uint8_t type;
    dwarf->is_indexed = true;
    while (dwarf_get_units(dwarf->debug, unit, &unit, NULL, &type, &die,
                           &other) == 0) {
        const bool is_split = type == DW_UT_skeleton && other.addr != NULL;
        if (!add_unit(dwarf, &die, is_split ? &other : &die))
            break;
    }
    if (dwarf->n_spans != 0)
        qsort(dwarf->spans, dwarf->n_spans, sizeof(*dwarf->spans), by_start);
}

static bool
find_in_index(struct names_dwarf *dwarf, Dwarf_Addr addr, struct span *span)
{
    size_t low = 0;
    size_t high = dwarf->n_spans;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (dwarf->spans[middle].start <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || addr >= dwarf->spans[low - 1].end)
        return false;
    *span = dwarf->spans[low - 1];
    return true;
}

/* By .debug_aranges, which gcc writes, and clang and rustc do not. */
static bool
find_in_aranges(const struct names_dwarf *dwarf, Dwarf_Addr addr,
                struct span *span)
{
    Dwarf_Die other;
    uint8_t type;
    if (dwarf_addrdie(dwarf->debug, addr, &span->unit) == NULL ||
        dwarf_cu_info(span->unit.cu, NULL, &type, NULL, &other, NULL, NULL,
                      NULL) != 0)
        return false;
    const bool is_split = type == DW_UT_skeleton && other.addr != NULL;
    span->code = is_split ? other : span->unit;
    return true;
}

static bool
find_span(struct names_dwarf *dwarf, Dwarf_Addr addr, struct span *span)
{
    if (dwarf->debug == NULL)
        return false;
    if (!dwarf->is_indexed && find_in_aranges(dwarf, addr, span))
        return true;
    if (!dwarf->is_indexed)
        index_units(dwarf);
    return find_in_index(dwarf, addr, span);
}

/* ---- functions --------------------------------------------------------- */

static bool
is_function(int tag)
{
    return tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
}

/* May have functions in it, and need not have addresses of its own. */
static bool
is_scope(int tag)
{
    return tag == DW_TAG_namespace || tag == DW_TAG_structure_type ||
           tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
           tag == DW_TAG_module || tag == DW_TAG_lexical_block;
}

static bool
is_elsewhere(Dwarf_Die *die, Dwarf_Addr addr)
{
    return (dwarf_hasattr(die, DW_AT_low_pc) != 0 ||
            dwarf_hasattr(die, DW_AT_ranges) != 0) &&
           dwarf_haspc(die, addr) <= 0;
}

static bool descend(struct chain *chain, Dwarf_Die *parent, unsigned depth);

/* Whether addr is in this one; then chain has it and all that is inlined. */
static bool
enter(struct chain *chain, Dwarf_Die *die, unsigned depth)
{
    const int tag = dwarf_tag(die);
    if (is_scope(tag))
        return !is_elsewhere(die, chain->addr) && descend(chain, die, depth);
    if (!is_function(tag))
        return false;
    if (dwarf_haspc(die, chain->addr) <= 0)
        return chain->is_thorough && descend(chain, die, depth);
    if (tag == DW_TAG_subprogram)
        chain->n_functions = 0; /* one within another is not inlined in it */
    if (chain->n_functions < NAMES_MOST_FRAMES) {
        chain->functions[chain->n_functions++] = *die;
        descend(chain, die, depth);
    }
    return true;
}

static bool
descend(struct chain *chain, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die die;
    if (depth == MOST_DEPTH || dwarf_child(parent, &die) != 0)
        return false;
    do {
        if (enter(chain, &die, depth + 1))
            return true;
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

/* ---- names ------------------------------------------------------------- */

/* Of one whose name is not mangled, the name itself. */
static const char *
demangle(struct names_dwarf *dwarf, const char *name)
{
    if (name[0] != '_' || (name[1] != 'Z' && name[1] != 'R'))
        return name;
    char *plain = rust_demangle(name, DMGL_NO_OPTS);
    if (plain == NULL)
        plain = cplus_demangle_v3(name, DMGL_NO_OPTS);
    if (plain == NULL)
        return name;
    if (dwarf->n_kept == NAMES_MOST_FRAMES) {
        free(plain);
        return name;
    }
    dwarf->kept[dwarf->n_kept++] = plain;
    return plain;
}

static const char *
text_attribute(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

/* "": it has none. */
static const char *
name_function(struct names_dwarf *dwarf, Dwarf_Die *die)
{
    const char *name = text_attribute(die, DW_AT_linkage_name);
    if (name == NULL)
        name = text_attribute(die, DW_AT_MIPS_linkage_name);
    if (name == NULL)
        name = text_attribute(die, DW_AT_name);
    return name == NULL ? "" : demangle(dwarf, name);
}

static const char *
name_symbol(struct names_dwarf *dwarf, uint64_t addr)
{
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(dwarf->module, addr, &offset,
                                            &symbol, NULL, NULL, NULL);
    return name == NULL ? "" : demangle(dwarf, name);
}

/* ---- lines ------------------------------------------------------------- */

static uint32_t
number_attribute(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) == 0 &&
                   value <= UINT32_MAX
               ? (uint32_t)value
               : 0;
}

/* Where the code of unit at addr was written. */
static void
place_code(struct names_frame *frame, Dwarf_Die *unit, Dwarf_Addr addr)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit, addr);
    int number = 0;
    if (line == NULL)
        return;
    const char *file = dwarf_linesrc(line, NULL, NULL);
    frame->file = file == NULL ? "" : file;
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        frame->line = (uint32_t)number;
}

/* Where an inlined function was called, which is in the one around it. */
static void
place_call(struct names_frame *frame, Dwarf_Die *unit, Dwarf_Die *inlined)
{
    Dwarf_Files *files;
    size_t n_files;
    const uint32_t at = number_attribute(inlined, DW_AT_call_file);
    if (dwarf_getsrcfiles(unit, &files, &n_files) == 0 && at < n_files) {
        const char *file = dwarf_filesrc(files, at, NULL, NULL);
        frame->file = file == NULL ? "" : file;
    }
    frame->line = number_attribute(inlined, DW_AT_call_line);
}

/* ---- all of it --------------------------------------------------------- */

static void
forget_kept(struct names_dwarf *dwarf)
{
    while (dwarf->n_kept != 0)
        free(dwarf->kept[--dwarf->n_kept]);
}

size_t
names_dwarf_frames(struct names_dwarf *dwarf, uint64_t addr,
                   struct names_frame frames[NAMES_MOST_FRAMES])
{
    forget_kept(dwarf);
    struct chain chain = {.addr = addr - dwarf->bias};
    struct span span;
    frames[0] = (struct names_frame){.function = "", .file = ""};
    if (find_span(dwarf, chain.addr, &span)) {
        place_code(&frames[0], &span.unit, chain.addr);
        if (!descend(&chain, &span.code, 0)) {
            chain.is_thorough = true;
            descend(&chain, &span.code, 0);
        }
    }
    const size_t n = chain.n_functions;
    for (size_t i = 0; i < n; i++) {
        frames[i].function = name_function(dwarf, &chain.functions[n - 1 - i]);
        if (i + 1 == n)
            break;
        frames[i + 1] = (struct names_frame){.function = "", .file = ""};
        place_call(&frames[i + 1], &span.unit, &chain.functions[n - 1 - i]);
    }
    struct names_frame *outermost = &frames[n == 0 ? 0 : n - 1];
    if (outermost->function[0] == '\0')
        outermost->function = name_symbol(dwarf, addr);
    const bool is_named =
        outermost->function[0] != '\0' || outermost->file[0] != '\0';
    return n == 0 ? is_named : n;
}

/* The file is always handed over. */
static int
find_no_elf(Dwfl_Module *module, void **own, const char *name, Dwarf_Addr base,
            char **path, Elf **elf)
{
    (void)module, (void)own, (void)name, (void)base, (void)path, (void)elf;
    return -1;
}

/* Whether there is a file of that name where debuggers look beside `beside`. */
static bool
is_beside(const char *beside, const char *name)
{
    static const char *const forms[] = {"%.*s/%s", "%.*s/.debug/%s",
                                        "/usr/lib/debug%.*s/%s"};
    const char *slash = strrchr(beside, '/');
    char path[PATH_MAX];
    for (size_t i = 0; slash != NULL && i < countof(forms); i++) {
        const int n = snprintf(path, sizeof(path), forms[i],
                               (int)(slash - beside), beside, name);
        if (n < (int)sizeof(path) && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/*
 * What dwfl_standard_find_debuginfo does, but for its last resort: it loads the
 * client for debuginfod's servers, with thirty libraries, also where no server
 * is to be asked. So it is called only if it need not resort to that.
 */
static int
find_debuginfo(Dwfl_Module *module, void **own, const char *name,
               Dwarf_Addr base, const char *file, const char *link,
               GElf_Word sum, char **found)
{
    const int fd = dwfl_build_id_find_debuginfo(module, own, name, base, file,
                                                link, sum, found);
    const bool is_asked = getenv("DEBUGINFOD_URLS") != NULL;
    if (fd >= 0 ||
        (!is_asked && (file == NULL || link == NULL || !is_beside(file, link))))
        return fd;
    return dwfl_standard_find_debuginfo(module, own, name, base, file, link,
                                        sum, found);
}

struct names_dwarf *
names_dwarf_open(int fd, const char *path)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = find_no_elf,
        .find_debuginfo = find_debuginfo,
        .section_address = dwfl_offline_section_address,
    };
    struct names_dwarf *dwarf = calloc(1, sizeof(*dwarf));
    if (dwarf == NULL)
        return NULL;
    dwarf->dwfl = dwfl_begin(&callbacks);
    if (dwarf->dwfl == NULL)
        goto close;
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    /* From 0 on, so that its addresses are the file's own. */
    dwarf->module = dwfl_report_elf(dwarf->dwfl, path, path, copy, 0, true);
    if (dwarf->module == NULL) {
        if (copy >= 0)
            close(copy);
        goto close;
    }
    dwfl_report_end(dwarf->dwfl, NULL, NULL);
    dwarf->debug = dwfl_module_getdwarf(dwarf->module, &dwarf->bias);
    return dwarf;
close:
    names_dwarf_close(dwarf);
    return NULL;
}

void
names_dwarf_close(struct names_dwarf *dwarf)
{
    if (dwarf == NULL)
        return;
    forget_kept(dwarf);
    free(dwarf->spans);
    dwfl_end(dwarf->dwfl);
    free(dwarf);
}
