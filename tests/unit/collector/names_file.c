#include "collector/names_file.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/attrs.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

static const struct build_id none;
static struct scratch scratch;

static void
set_up(void)
{
    scratch = scratch_create();
}

static void
tear_down(void)
{
    scratch_remove(&scratch);
}

TestSuite(names_file, .init = set_up, .fini = tear_down);

static struct build_id
is_in(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct build_id id = names_file_build_id(fd);
    close(fd);
    return id;
}

/* Whether this process' image of that path is found to be a file. */
static bool
is_found(const char *path, uint64_t start, struct build_id id)
{
    struct build_id found;
    const struct names_told told = {getpid(), path, start, id};
    const int fd = names_file_open(&told, &found);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* ---- finding ----------------------------------------------------------- */

Test(names_file, a_path_means_what_its_process_means)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, "file", "text", 4, 0600, path);
    check_true(is_found(path, 0, none));
    check_false(is_found("./file", 0, none));
    check_eq(chdir(scratch.path), 0);
    check_true(is_found("./file", 0, none));
}

Test(names_file, a_file_deleted_before_is_had_from_its_mapping)
{
    char path[SCRATCH_PATH_BYTES];
    char link[128];
    scratch_file(&scratch, "file", "text", 4, 0600, path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *start = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    check_true(start != MAP_FAILED);
    close(fd);
    unlink(path);
    const uint64_t addr = (uint64_t)(uintptr_t)start;
    snprintf(link, sizeof(link), "/proc/self/map_files/%" PRIx64 "-%" PRIx64,
             addr, addr + 4096);
    if (access(link, R_OK) != 0)
        cr_skip_test("it takes rights that we lack");
    check_false(is_found(path, addr + 1, none));
    check_true(is_found(path, addr, none));
}

Test(names_file, a_program_deleted_before_is_had_from_its_process)
{
    check_true(is_found("", 0, none));
    check_true(is_found("/nowhere", 0, is_in("/proc/self/exe")));
    check_false(is_found("/nowhere", 0, none));
}

Test(names_file, another_build_is_not_it)
{
    struct build_id id = is_in("/proc/self/exe");
    check_eq(id.n_bytes, 20);
    check_true(is_found("/proc/self/exe", 0, id));
    id.bytes[19] ^= 1;
    check_false(is_found("/proc/self/exe", 0, id));
}

Test(names_file, nothing_but_regular_files_is_opened)
{
    char path[SCRATCH_PATH_BYTES];
    check_eq(mkfifo(scratch_path(&scratch, "fifo", path), 0600), 0);
    check_false(is_found(path, 0, none));
    check_false(is_found("/dev/null", 0, none));
    check_false(is_found(scratch.path, 0, none));
    check_false(is_found("linux-vdso.so.1", 0, none));
}

/* ---- notes ------------------------------------------------------------- */

/* A file of one segment, which has one note, as long as it says or not. */
struct noted {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    Elf64_Nhdr note;
    char name[4];
    unsigned char content[64];
};

static size_t
id_bytes_of(const struct noted *noted)
{
    char path[SCRATCH_PATH_BYTES];
    scratch_file(&scratch, "noted", noted, sizeof(*noted), 0600, path);
    return is_in(path).n_bytes;
}

Test(names_file, notes_are_read_with_care)
{
    static const struct {
        uint64_t segment_bytes;
        uint32_t name_bytes;
        uint32_t content_bytes;
        size_t n_bytes; /* of the build id */
    } cases[] = {
        {16 + 20,    4,          20,         20},
        {16 + 64,    4,          64,         20}, /* cut */
        {16 + 8,     4,          8,          8 },
        {16 + 19,    4,          20,         0 }, /* not whole */
        {16 + 20,    4,          UINT32_MAX, 0 },
        {16 + 20,    UINT32_MAX, 20,         0 },
        {16 + 20,    5,          12,         0 },
        {16 + 20,    4,          0,          0 },
        {15,         4,          20,         0 },
        {11,         4,          20,         0 },
        {UINT64_MAX, 4,          20,         0 }, /* behind the file's end */
    };
    struct noted noted = {
        .header = {.e_ident = ELFMAG,
                   .e_phoff = offsetof(struct noted, segment),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 1},
        .segment = {.p_type = PT_NOTE,
                   .p_offset = offsetof(struct noted, note)},
        .note = {.n_type = NT_GNU_BUILD_ID     },
        .name = "GNU",
    };
    noted.header.e_ident[EI_CLASS] = ELFCLASS64;
    for (size_t i = 0; i < countof(cases); i++) {
        noted.segment.p_filesz = cases[i].segment_bytes;
        noted.note.n_namesz = cases[i].name_bytes;
        noted.note.n_descsz = cases[i].content_bytes;
        const size_t n_bytes = id_bytes_of(&noted);
        cr_assert(n_bytes == cases[i].n_bytes, "case %zu: %zu bytes", i,
                  n_bytes);
    }
    noted.segment.p_filesz = 16 + 20;
    noted.header.e_phnum = UINT16_MAX;
    noted.header.e_phoff = UINT64_MAX - 8;
    check_eq(id_bytes_of(&noted), 0);
}
