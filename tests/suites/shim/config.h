/*
 * config.h - of a glibc that was never configured
 *
 * The allocator's tests are built against the system's glibc; what of its own
 * configuration they and their driver ask for is here, and empty.
 */
#ifndef CONFIG_H
#define CONFIG_H

#endif
