/*
 * proc.h - what /proc tells anybody about a process, by its pid
 *
 * No right over the process is needed for any of this.
 */
#ifndef COLLECTOR_PROC_H
#define COLLECTOR_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors that keep meaning this process, whoever gets its pid later. */
struct proc {
    pid_t pid;
    int pidfd; /* -1: not to be had */
    int statm; /* likewise */
};

struct proc proc_open(pid_t pid);
void proc_close(struct proc *proc);

bool proc_is_alive(const struct proc *proc);

/* Resident bytes, about; 0: it is gone. */
uint64_t proc_rss(const struct proc *proc);

/* Of these what is its own, not of files nor shared, about; -1: it is gone. */
int64_t proc_anon(const struct proc *proc);

/* Its peak, or -1. */
int64_t proc_vm_hwm(const struct proc *proc);

#endif
