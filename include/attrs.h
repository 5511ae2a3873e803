/*
 * attrs.h - what the compiler is told beyond the language
 *
 * Header-only, no state. EXPORT marks the few symbols a shared object shows;
 * everything else is hidden by -fvisibility=hidden.
 */
#ifndef INCLUDE_ATTRS_H
#define INCLUDE_ATTRS_H

#include <assert.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
/* On a declaration of data: it is read without a detour by the GOT. */
#define HIDDEN __attribute__((visibility("hidden")))
#define COLD __attribute__((cold, noinline))
#define NOINLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(format_at, args_at) \
    __attribute__((format(__printf__, format_at, args_at)))

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define countof(array) (sizeof(array) / sizeof((array)[0]))

#endif
