#include "collector/model/catalogue.h"

#include <string.h>

#include "tests/unit/check.h"

TestSuite(catalogue, .timeout = 60);

static struct catalogue_module
module_of(const char *path, const char *build_id)
{
    struct catalogue_module module = {
        .path = path,
        .build_id_bytes = strlen(build_id),
    };
    memcpy(module.build_id, build_id, module.build_id_bytes);
    return module;
}

Test(catalogue, a_module_is_a_path_and_a_build_id)
{
    static const char *const paths[] = {"/a", "/b", "/ab", ""};
    static const char *const ids[] = {"", "1", "11", "12345678901234567890"};
    struct catalogue *catalogue = catalogue_create();
    for (unsigned lap = 0; lap < 2; lap++) {
        for (unsigned i = 0; i < 16; i++) {
            const struct catalogue_module module =
                module_of(paths[i / 4], ids[i % 4]);
            check_eq(catalogue_module(catalogue, &module), i + 1);
        }
    }
    check_eq(catalogue_n_modules(catalogue), 16);
    for (unsigned i = 0; i < 16; i++) {
        const struct catalogue_module module =
            catalogue_get_module(catalogue, i + 1);
        check_text(module.path, paths[i / 4]);
        check_eq(module.build_id_bytes, strlen(ids[i % 4]));
        check_eq(memcmp(module.build_id, ids[i % 4], strlen(ids[i % 4])), 0);
    }
    catalogue_destroy(catalogue);
    catalogue_destroy(NULL);
}

Test(catalogue, a_build_id_that_is_too_long_is_none)
{
    struct catalogue *catalogue = catalogue_create();
    struct catalogue_module module = module_of("/a", "");
    check_eq(catalogue_module(catalogue, &module), 1);
    module.build_id_bytes = 21;
    check_eq(catalogue_module(catalogue, &module), 1);
    catalogue_destroy(catalogue);
}

Test(catalogue, a_frame_is_a_module_and_an_offset)
{
    struct catalogue *catalogue = catalogue_create();
    for (unsigned lap = 0; lap < 2; lap++) {
        for (uint32_t i = 0; i < 10000; i++) {
            const struct catalogue_frame frame = {i / 3 * 16, i % 3};
            check_eq(catalogue_frame(catalogue, &frame), i + 1);
        }
    }
    check_eq(catalogue_n_frames(catalogue), 10000);
    const struct catalogue_frame frame = catalogue_get_frame(catalogue, 6);
    check_eq(frame.offset, 16);
    check_eq(frame.module, 2);
    catalogue_destroy(catalogue);
}

Test(catalogue, a_site_is_its_frames_and_whether_it_is_cut)
{
    uint32_t frames[40];
    struct catalogue *catalogue = catalogue_create();
    for (uint32_t i = 0; i < 40; i++)
        frames[i] = i / 2 + 1;
    for (unsigned lap = 0; lap < 2; lap++) {
        uint32_t id = 0;
        for (size_t n = 1; n <= 40; n++) {
            for (unsigned is_cut = 0; is_cut < 2; is_cut++) {
                const struct catalogue_site site = {frames, n, is_cut == 1};
                check_eq(catalogue_site(catalogue, &site), ++id);
            }
        }
        check_eq(catalogue_n_sites(catalogue), id);
    }
    const struct catalogue_site site = catalogue_get_site(catalogue, 80);
    check_eq(site.n_frames, 40);
    check_true(site.is_cut);
    check_eq(memcmp(site.frames, frames, sizeof(frames)), 0);
    check_false(catalogue_get_site(catalogue, 79).is_cut);
    catalogue_destroy(catalogue);
}

Test(catalogue, what_is_one_too_many_is_not_known)
{
    struct catalogue *catalogue = catalogue_create();
    for (uint32_t i = 0; i < CATALOGUE_MOST_FRAMES; i++) {
        const struct catalogue_frame frame = {i, 1};
        check_eq(catalogue_frame(catalogue, &frame), i + 1);
    }
    struct catalogue_frame frame = {CATALOGUE_MOST_FRAMES, 1};
    check_eq(catalogue_frame(catalogue, &frame), 0);
    frame.offset = 5;
    check_eq(catalogue_frame(catalogue, &frame), 6);
    catalogue_destroy(catalogue);
}
