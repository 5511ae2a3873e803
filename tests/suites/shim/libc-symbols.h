/*
 * libc-symbols.h - what glibc's tests want of the header of that name
 *
 * Inside glibc it hides and aliases symbols; outside there is nothing to hide.
 */
#ifndef LIBC_SYMBOLS_H
#define LIBC_SYMBOLS_H

#define attribute_hidden
#define libc_hidden_proto(name, ...)
#define libc_hidden_def(name)

#endif
