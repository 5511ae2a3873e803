/*
 * An image may go: what was learnt of its code is not true any more.
 *
 * dlopen is not hooked: it looks at who calls it.
 */
#include <dlfcn.h>
#include <errno.h>

#include "preload/process.h"
#include "preload/real.h"
#include "preload/unwind/unwind.h"

EXPORT int
dlclose(void *handle)
{
    real_resolve();
    const int result = real.dlclose(handle);
    if (process_wants_stacks()) {
        const int saved_errno = errno;
        unwind_forget();
        errno = saved_errno;
    }
    return result;
}
