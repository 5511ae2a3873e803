/* Sites as `residue stats` shows them, of recordings by the collector. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "report/formats/stats_format.h"
#include "tests/unit/check.h"
#include "tests/unit/report/recorded.h"

static struct scratch scratch;
static struct recorded recorded;
static struct catalogue *catalogue;
static struct site_news_cursor cursor;

static void
set_up(void)
{
    scratch = scratch_create();
    setenv("TMPDIR", scratch.path, 1);
    recorded = recorded_create(&scratch, "a.rec");
    recorded_process(&recorded, 1, "/a/program");
    catalogue = catalogue_create();
    cursor = (struct site_news_cursor){0};
}

static void
clean_up(void)
{
    catalogue_destroy(catalogue);
    scratch_remove(&scratch);
}

TestSuite(sites, .init = set_up, .fini = clean_up, .timeout = 20);

/* A stack of n frames, 16 bytes apart; its id. */
static uint32_t
add_site(const char *path, uint64_t offset, size_t n, bool is_cut)
{
    uint32_t frames[200];
    const uint32_t module =
        path == NULL ? 0
                     : catalogue_module(
                           catalogue, &(struct catalogue_module){.path = path});
    for (size_t i = 0; i < n; i++)
        frames[i] = catalogue_frame(
            catalogue, &(struct catalogue_frame){offset + 16 * i, module});
    return catalogue_site(catalogue,
                          &(struct catalogue_site){frames, n, is_cut});
}

static void
put_name(uint32_t frame, uint32_t depth, const char *function, const char *file,
         int64_t line)
{
    struct site_news *news = site_news_create();
    site_news_add_name(news,
                       &(struct site_news_name){frame, depth, (char *)function,
                                                (char *)file, line});
    recording_put_sites(recorded.recording, news);
}

static void
put_last(const struct recording_use *uses, size_t n)
{
    struct site_news *news = site_news_take(catalogue, &cursor);
    if (news != NULL)
        recording_put_sites(recorded.recording, news);
    recording_put_uses(recorded.recording, 1, uses, n);
}

/* What is said of a moment, sealed; the caller frees it. */
static char *
said(const char *moment, bool is_json)
{
    char target[SCRATCH_PATH_BYTES + 32];
    struct text text = {0};
    struct json json = {0};
    if (recorded.recording != NULL)
        recorded_seal(&recorded);
    snprintf(target, sizeof(target), "%s@%s", recorded.path, moment);
    struct query *query = query_open(target);
    size_t n;
    struct query_process *processes = query_processes(query, &n);
    check_eq(n, 1);
    const struct query_census census =
        query_census_at(query, processes[0].id, query_moment(query));
    json_open(&json, NULL, '{');
    stats_sites(&json, query, processes[0].id, &census);
    json_close(&json, '}');
    stats_sites_text(&text, query, processes[0].id, &census);
    cr_assert(query_complaint(query) == NULL, "%s", query_complaint(query));
    query_free_processes(processes, n);
    query_close(query);
    char *json_said = text_take(&json.text);
    char *text_said = text_take(&text);
    free(is_json ? text_said : json_said);
    return is_json ? json_said : text_said;
}

static void
check_said(const char *moment, bool is_json, const char *expected)
{
    char *is = said(moment, is_json);
    cr_assert(strcmp(is, expected) == 0, "\n%s\nis not\n%s", is, expected);
    free(is);
}

/* ---- as JSON ----------------------------------------------------------- */

Test(sites, without_stacks_they_are_null)
{
    check_said("end", true, "{\"sites\":null}");
    check_said("end", false, "");
}

Test(sites, all_keys_are_said_and_null_where_nothing_is_known)
{
    const uint32_t site = add_site("/lib/a.so", 0x40, 1, true);
    const struct recording_use uses[] = {
        {site,                   2, 300, 4, 500},
        {RECORDING_SITE_UNKNOWN, 1, 24,  1, 24 },
    };
    put_last(uses, 2);
    put_name(1, 0, "inner", "/src/a.c", 7);
    put_name(1, 1, "outer", NULL, -1);
    check_said(
        "end", true,
        "{\"sites_t_us\":null,\"sites\":[{\"id\":1,\"kind\":\"native\","
        "\"frames\":[{\"function\":\"inner\",\"file\":\"/src/a.c\",\"line\":7,"
        "\"module\":\"/lib/a.so\",\"offset\":64},{\"function\":\"outer\","
        "\"file\":null,\"line\":null,\"module\":\"/lib/a.so\",\"offset\":64}],"
        "\"cut\":true,\"live_bytes\":300,\"live_blocks\":2,"
        "\"alloc_bytes\":500,\"alloc_blocks\":4,"
        "\"held_exclusive_bytes\":null,\"held_split_bytes\":null,"
        "\"leverage\":null},"
        "{\"id\":0,\"kind\":\"native\",\"frames\":[],\"cut\":null,"
        "\"live_bytes\":24,\"live_blocks\":1,\"alloc_bytes\":24,"
        "\"alloc_blocks\":1,\"held_exclusive_bytes\":null,"
        "\"held_split_bytes\":null,\"leverage\":null}]}");
}

Test(sites, a_process_without_a_block_has_no_site)
{
    put_last(NULL, 0);
    check_said("end", true, "{\"sites\":null}");
}

/* ---- moments ----------------------------------------------------------- */

static void
put_census(enum recording_census_kind kind, uint64_t after_ms,
           const char *label, int64_t live_bytes)
{
    const struct recording_use use = {1, 1, live_bytes, 1, live_bytes};
    recorded_census_with(&recorded,
                         &(struct recorded_census){
                             .process = 1,
                             .kind = kind,
                             .after_ms = after_ms,
                             .label = label,
                             .rss_bytes = 1 << 20,
                         },
                         &use, live_bytes == 0 ? 0 : 1);
}

static void
check_live(const char *moment, int64_t live_bytes)
{
    char *is = said(moment, true);
    char expected[60];
    snprintf(expected, sizeof(expected), "\"live_bytes\":%lld,",
             (long long)live_bytes);
    cr_assert((strstr(is, expected) != NULL) == (live_bytes != 0), "at %s: %s",
              moment, is);
    cr_assert((strstr(is, "\"sites\":null") == NULL) == (live_bytes != 0));
    free(is);
}

Test(sites, a_moment_has_its_own_or_those_before)
{
    const struct recording_use last = {add_site("/a", 1, 1, false), 9, 900, 9,
                                       900};
    put_census(CENSUS_periodic, 10, NULL, 0);
    put_census(CENSUS_mark, 100, "one", 111);
    put_census(CENSUS_periodic, 200, NULL, 0);
    put_census(CENSUS_mark, 300, "two", 222);
    put_census(CENSUS_end, 400, NULL, 333);
    put_last(&last, 1);
    check_live("start", 0);
    check_live("one", 111);
    check_live("0.25", 111);
    check_live("two", 222);
    check_live("9", 333);
    check_live("end", 900);
}

Test(sites, while_it_lives_the_end_is_its_latest_census)
{
    put_census(CENSUS_mark, 100, "one", 111);
    put_census(CENSUS_periodic, 200, NULL, 0);
    check_live("end", 111);
}

/* ---- as text ----------------------------------------------------------- */

Test(sites, the_text_names_the_innermost_frames)
{
    const uint32_t deep = add_site("/lib/libx.so.1", 0x40, 5, false);
    const uint32_t alone = add_site(NULL, 0x7f00, 1, true);
    const uint32_t gone = add_site("/gone", 1, 1, false);
    const struct recording_use uses[] = {
        {deep,                   2, 3000, 4, 5000},
        {alone,                  1, 100,  1, 100 },
        {RECORDING_SITE_OTHER,   1, 50,   1, 50  },
        {RECORDING_SITE_UNKNOWN, 1, 24,   1, 24  },
        {77,                     1, 20,   1, 20  },
        {gone,                   0, 0,    9, 999 },
    };
    put_last(uses, 6);
    put_name(1, 0, "make_it", "/src/deep/a.c", 7);
    put_name(2, 0, "main", NULL, -1);
    check_said("end", false,
               "\n        live     blocks  born at, called from\n"
               "     2.9 KiB          2  make_it (a.c:7)\n"
               "                         main (libx.so.1+0x50)\n"
               "                         libx.so.1+0x60\n"
               "       100 B          1  0x7f00\n"
               "        50 B          1  (all smaller sites)\n"
               "        24 B          1  (their stack is not known)\n"
               "        20 B          1  (not in this recording)\n");
}

Test(sites, the_text_has_ten_and_says_how_many_more)
{
    struct recording_use uses[13];
    for (uint32_t i = 0; i < 13; i++)
        uses[i] = (struct recording_use){add_site("/a", i, 1, false), 1,
                                         100 + i, 1, 100};
    put_last(uses, 13);
    char *text = said("end", false);
    unsigned n_lines = 0;
    for (const char *at = text; *at != '\0'; at++)
        n_lines += *at == '\n';
    check_eq(n_lines, 13);
    cr_assert_not_null(strstr(text, "\n  and 3 sites more: see --json\n"));
    cr_assert_not_null(strstr(text, "a+0xc\n"));
    cr_assert_null(strstr(text, "a+0x0\n"));
    free(text);
}

Test(sites, names_of_strangers_keep_to_their_line)
{
    char name[600];
    char file[600];
    struct recording_use use = {add_site("/a", 1, 2, false), 1, 100, 1, 100};
    memset(name, 'n', sizeof(name) - 1);
    memset(file, 'f', sizeof(file) - 1);
    name[3] = '\n';
    name[4] = '\033';
    name[sizeof(name) - 1] = file[sizeof(file) - 1] = '\0';
    put_last(&use, 1);
    put_name(1, 0, name, file, INT64_MAX);
    for (size_t i = 0; i + 2 < sizeof(name); i += 2)
        memcpy(name + i, "\303\244", 2);
    put_name(2, 0, name, "a.c", 1);
    char *text = said("end", false);
    cr_assert_null(strchr(text, '\033'));
    cr_assert_not_null(strstr(text, "nnn??nnn"));
    unsigned n_lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL;
         line = strtok(NULL, "\n"), n_lines++) {
        cr_assert(strlen(line) <= 78, "%zu columns: %s", strlen(line), line);
        for (size_t at = 0; line[at] != '\0';) {
            const size_t n =
                text_utf8_length((unsigned char *)line + at, strlen(line + at));
            check_ge(n, 1);
            at += n;
        }
    }
    check_eq(n_lines, 3);
    free(text);
}

/* ---- estimates --------------------------------------------------------- */

static void
put_estimates(void)
{
    const uint32_t deep = add_site("/lib/libx.so.1", 0x40, 3, false);
    const uint32_t alone = add_site(NULL, 0x7f00, 1, false);
    const struct recording_use uses[] = {
        {deep,  2, 3000, 4, 5000, 1, 1024, 2, 2048},
        {alone, 1, 100,  1, 100,  3, 70,   3, 70  },
    };
    put_last(uses, 2);
}

Test(sites, an_estimate_has_its_error_beside_it)
{
    put_estimates();
    char *json = said("end", true);
    cr_assert(strstr(json, "\"live_bytes\":3000,\"live_bytes_error\":1024,"
                           "\"live_blocks\":2,\"live_blocks_error\":1,"
                           "\"alloc_bytes\":5000,\"alloc_bytes_error\":2048,"
                           "\"alloc_blocks\":4,\"alloc_blocks_error\":2,"),
              "%s", json);
    free(json);
    check_said("end", false,
               "\n        live     blocks  born at, called from\n"
               "     2.9 KiB          2  libx.so.1+0x40\n"
               "   ± 1.0 KiB        ± 1  libx.so.1+0x50\n"
               "                         libx.so.1+0x60\n"
               "       100 B          1  0x7f00\n"
               "      ± 70 B        ± 3\n"
               "  ± one standard error: a sample of the blocks was told with "
               "its stack\n");
}

/* ---- of another time --------------------------------------------------- */

static void
change(const char *sql)
{
    recorded_seal(&recorded);
    sqlite3 *file;
    check_eq(sqlite3_open(recorded.path, &file), SQLITE_OK);
    check_eq(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(file);
}

Test(sites, a_recording_from_before_them_has_none)
{
    put_census(CENSUS_end, 100, NULL, 0);
    change("DROP VIEW v_sites; DROP VIEW v_frames;"
           "DROP TABLE site_use; DROP TABLE site;"
           "DROP TABLE site_frame; DROP TABLE frame;"
           "DROP TABLE frame_name; DROP TABLE module;");
    check_said("end", true, "{\"sites\":null}");
}

Test(sites, of_before_there_were_estimates_all_is_exact)
{
    put_estimates();
    change("DROP VIEW v_sites;"
           "ALTER TABLE site_use DROP COLUMN live_blocks_error;"
           "ALTER TABLE site_use DROP COLUMN live_bytes_error;"
           "ALTER TABLE site_use DROP COLUMN alloc_blocks_error;"
           "ALTER TABLE site_use DROP COLUMN alloc_bytes_error;"
           "PRAGMA user_version = 2");
    char *json = said("end", true);
    cr_assert(strstr(json, "\"live_bytes\":3000,\"live_blocks\":2"), "%s",
              json);
    cr_assert(strstr(json, "error") == NULL, "%s", json);
    free(json);
}
