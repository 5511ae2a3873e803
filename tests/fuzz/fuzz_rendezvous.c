/*
 * The input is what strangers do at the socket (door.c). Who is introduced
 * becomes an image, as a process does; requests are answered at once.
 */
#include <unistd.h>

#include "collector/image.h"
#include "include/text.h"
#include "include/xalloc.h"
#include "tests/fuzz/door.h"
#include "tests/fuzz/fuzz.h"

static void
on_collected(void *context, const struct collection *collection)
{
    (void)context, (void)collection;
}

static void
on_spawned(void *context, pid_t child)
{
    (void)context, (void)child;
}

static void
on_mapped(void *context, const struct sites_image *told)
{
    (void)context, (void)told;
}

/* All that is said about it is looked at. */
static void
check_introduction(const struct introduction *introduction)
{
    const struct wire_hello *hello = &introduction->hello;
    fuzz_holds(hello->version == WIRE_VERSION);
    fuzz_holds(hello->reason <= WIRE_REASON_FORK);
    fuzz_holds(hello->exe_bytes <= WIRE_TEXT_BYTES);
    fuzz_holds(hello->command_bytes <= WIRE_TEXT_BYTES);
    fuzz_holds(introduction->pid == getpid());
    struct text command = {0};
    text_add_json_list(&command, introduction->command, hello->command_bytes);
    text_finish(&command);
}

static bool
on_introduced(void *context, const struct introduction *introduction)
{
    struct catalogue *catalogue = context;
    const struct image_listener listener = {
        .collected = on_collected,
        .spawned = on_spawned,
        .mapped = on_mapped,
    };
    check_introduction(introduction);
    struct introduction leveled = *introduction;
    leveled.level = introduction->hello.flags % WIRE_N_LEVELS;
    struct image *image = image_create(&leveled, NULL, catalogue, &listener);
    if (image == NULL)
        return false;
    image_drain(image, 1);
    fuzz_holds(image_is_sound(image));
    fuzz_holds(image->python_major == 0 || image->python_major == 2 ||
               image->python_major == 3);
    image_destroy(image);
    return true;
}

static void
on_asked(void *context, struct connection *connection,
         const struct control_request *request)
{
    (void)context;
    rendezvous_reply(connection, CONTROL_OK, request->text, 0, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct catalogue *catalogue = catalogue_create();
    const struct door_guest guest = {
        .listener =
            {
                       .introduced = on_introduced,
                       .asked = on_asked,
                       .context = catalogue,
                       },
    };
    door_run(&guest, bytes, n_bytes);
    catalogue_destroy(catalogue);
    return 0;
}
