/*
 * forbidden.h - names that the preload may not utter
 *
 * Included before everything else, by the build. What allocates, takes a lock,
 * speaks or waits has no place in a hook: STYLE 6. The headers that declare
 * these names come first, so that only a use is an error.
 */
#ifndef PRELOAD_FORBIDDEN_H
#define PRELOAD_FORBIDDEN_H

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC poison printf fprintf dprintf vprintf vfprintf asprintf vasprintf
#pragma GCC poison puts fputs putchar fopen fdopen fclose fread fwrite fgets
#pragma GCC poison perror strerror warn warnx err errx syslog
#pragma GCC poison pthread_mutex_lock pthread_rwlock_rdlock pthread_cond_wait
#pragma GCC poison pthread_getattr_np pthread_once sem_wait
#pragma GCC poison strdup strndup getline opendir setlocale strtol strtoul
#pragma GCC poison sleep usleep nanosleep write send sendmsg sendto
#pragma GCC poison abort exit sigaction system popen

#endif
