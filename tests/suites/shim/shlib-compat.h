/*
 * shlib-compat.h - a reference to an old version of one of glibc's symbols
 *
 * On x86-64 the oldest version of all is GLIBC_2.2.5, and tests ask for none
 * but those that were there from the start.
 */
#ifndef SHLIB_COMPAT_H
#define SHLIB_COMPAT_H

#define compat_symbol_reference(library, local, symbol, version) \
    __asm__(".symver " #local "," #symbol "@GLIBC_2.2.5")

#define TEST_COMPAT(library, introduced, obsoleted) 1

#endif
