/*
 * descriptor.h - descriptors of our own, out of the target's way
 */
#ifndef PRELOAD_DESCRIPTOR_H
#define PRELOAD_DESCRIPTOR_H

/* Out of the way of programs that count on low numbers. */
enum { DESCRIPTOR_HIGH = 700 };

/*
 * Moves it to a number that programs do not meet, which is returned: just above
 * their limit of descriptors, where neither a loop that closes all nor one that
 * looks at all gets to. Where there is no room above it, to a high number
 * below, were it the last one there is; or it stays where it is.
 */
int descriptor_lift(int fd);

#endif
