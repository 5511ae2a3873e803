/*
 * A rule that was found for an address is kept in one word, in a table that all
 * threads read and write without a lock: a word is whole or not there. Which
 * word says the low bits of the address, and the word says the others.
 *
 *     31-63  address / KNOWN
 *     29-30  enum cfi_frame, less CFI_FROM_RSP: 0 to 2; 3: SPECIAL
 *     16-28  the size of its offset / 8; of a SPECIAL one its enum cfi_frame
 *     15     its offset is negative
 *     13-14  enum cfi_rbp
 *     1-12   the size of its offset / 8, which is negative; of AT_RBP likewise
 *     0      1
 */
#include "preload/unwind/unwind.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "preload/unwind/cfi.h"
#include "preload/unwind/images.h"

enum {
    KNOWN = 1 << 14, /* words of the table */
    SPECIAL = 3,
    MOST_FRAME_WORDS = (1 << 13) - 1,
    MOST_RBP_WORDS = (1 << 12) - 1,
    /* Of the main thread's stack, in which nothing else can be mapped. */
    MAIN_STACK_BYTES = 8 * 1024 * 1024,
    /* What glibc has of a thread's stack above its control block, and more. */
    ABOVE_BYTES = 8192,
};

/* The linker's bounds of this shared object, as loaded. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static struct {
    _Atomic uint64_t known[KNOWN];
    uintptr_t main_control_block; /* it is at no stack's end */
    uintptr_t main_end;           /* of the main thread's stack; 0: not known */
    _Atomic uint32_t epoch;     /* of the images, when rules were found last */
    _Atomic size_t least_stack; /* of those that threads were given */
} unwind = {.least_stack = SIZE_MAX};

struct cursor {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t bp;
    uintptr_t end; /* of the stack */
    bool is_exact; /* pc is where it stands, not where it returns to */
    bool is_bp_known;
};

void
unwind_init(void)
{
    void *const *end = dlsym(RTLD_DEFAULT, "__libc_stack_end");
    unwind.main_end = end == NULL ? 0 : (uintptr_t)*end;
    unwind.main_control_block = (uintptr_t)pthread_self();
    images_init();
}

void
unwind_note_stack(size_t n_bytes)
{
    size_t least = atomic_load(&unwind.least_stack);
    while (n_bytes < least &&
           !atomic_compare_exchange_weak(&unwind.least_stack, &least, n_bytes))
        continue;
}

static void
forget_rules(void)
{
    for (size_t i = 0; i < KNOWN; i++)
        atomic_store_explicit(&unwind.known[i], 0, memory_order_relaxed);
}

void
unwind_forget(void)
{
    images_forget();
    forget_rules();
}

/* ---- rules ------------------------------------------------------------- */

/* 0: it does not fit. */
static uint64_t
pack(const struct cfi_rule *rule, uintptr_t address)
{
    uint64_t frame = SPECIAL;
    uint64_t n_words = rule->frame;
    const bool is_below = rule->frame_offset < 0;
    if (rule->frame == CFI_FROM_RSP || rule->frame == CFI_FROM_RBP ||
        rule->frame == CFI_AT_RBP) {
        frame = (uint64_t)rule->frame - CFI_FROM_RSP;
        n_words = (uint64_t)(is_below ? -(int64_t)rule->frame_offset
                                      : rule->frame_offset) /
                  8;
    }
    const uint64_t n_rbp_words = (uint64_t) - (int64_t)rule->rbp_offset / 8;
    if (rule->frame_offset % 8 != 0 || rule->rbp_offset % 8 != 0 ||
        rule->rbp_offset > 0 || n_words > MOST_FRAME_WORDS ||
        n_rbp_words > MOST_RBP_WORDS)
        return 0;
    return (uint64_t)(address / KNOWN) << 31 | frame << 29 | n_words << 16 |
           (uint64_t)is_below << 15 | (uint64_t)rule->rbp << 13 |
           n_rbp_words << 1 | 1;
}

static struct cfi_rule
unpack(uint64_t word)
{
    const uint64_t frame = word >> 29 & 3;
    const int32_t n_words = (int32_t)(word >> 16 & MOST_FRAME_WORDS);
    if (frame == SPECIAL)
        return (struct cfi_rule){.frame = (enum cfi_frame)n_words};
    return (struct cfi_rule){
        .frame = (enum cfi_frame)(CFI_FROM_RSP + frame),
        .frame_offset = (word >> 15 & 1) != 0 ? -8 * n_words : 8 * n_words,
        .rbp = (enum cfi_rbp)(word >> 13 & 3),
        .rbp_offset = -8 * (int32_t)(word >> 1 & MOST_RBP_WORDS),
    };
}

static COLD struct cfi_rule
find_rule(uintptr_t address, _Atomic uint64_t *word)
{
    const struct image *image = images_find(address);
    if (image == NULL)
        return (struct cfi_rule){.frame = CFI_UNKNOWN};
    const uint32_t epoch = images_epoch();
    if (atomic_exchange(&unwind.epoch, epoch) != epoch)
        forget_rules(); /* it has taken the place of another */
    const struct cfi_rule rule = cfi_find(&image->tables, address);
    const uint64_t packed = pack(&rule, address);
    if (packed != 0)
        atomic_store_explicit(word, packed, memory_order_relaxed);
    return rule;
}

static struct cfi_rule
rule_of(uintptr_t address)
{
    _Atomic uint64_t *word = &unwind.known[address % KNOWN];
    const uint64_t packed = atomic_load_explicit(word, memory_order_relaxed);
    return (packed & 1) != 0 && packed >> 31 == address / KNOWN
               ? unpack(packed)
               : find_rule(address, word);
}

/* ---- one frame --------------------------------------------------------- */

/* A word of the stack that is in use; false: it lies elsewhere. */
static bool
read_word(const struct cursor *cursor, uintptr_t addr, uintptr_t *word)
{
    if (addr % 8 != 0 || addr < cursor->sp || addr >= cursor->end ||
        cursor->end - addr < 8)
        return false;
    *word = *(const uintptr_t *)addr;
    return true;
}

/* The kernel has put all registers there, and rsp points to them. */
static bool
step_out_of_signal(struct cursor *cursor)
{
    const uintptr_t context = cursor->sp;
    if (cursor->end - context < sizeof(ucontext_t))
        return false;
    const mcontext_t *machine = &((const ucontext_t *)context)->uc_mcontext;
    const uintptr_t sp = (uintptr_t)machine->gregs[REG_RSP];
    if (sp <= context || sp >= cursor->end)
        return false; /* the handler had a stack of its own */
    cursor->pc = (uintptr_t)machine->gregs[REG_RIP];
    cursor->bp = (uintptr_t)machine->gregs[REG_RBP];
    cursor->sp = sp;
    cursor->is_exact = true;
    cursor->is_bp_known = true;
    return true;
}

static bool
find_frame(const struct cursor *cursor, const struct cfi_rule *rule,
           uintptr_t *frame)
{
    const uintptr_t offset = (uintptr_t)(intptr_t)rule->frame_offset;
    if (rule->frame == CFI_FROM_RSP) {
        *frame = cursor->sp + offset;
        return true;
    }
    *frame = cursor->bp + offset;
    return cursor->is_bp_known &&
           (rule->frame == CFI_FROM_RBP ||
            (rule->frame == CFI_AT_RBP && read_word(cursor, *frame, frame)));
}

static void
find_bp(struct cursor *cursor, const struct cfi_rule *rule, uintptr_t frame)
{
    const uintptr_t offset = (uintptr_t)(intptr_t)rule->rbp_offset;
    if (rule->rbp == CFI_RBP_SAME)
        return;
    const uintptr_t at =
        (rule->rbp == CFI_RBP_BY_FRAME ? frame : cursor->bp) + offset;
    cursor->is_bp_known =
        rule->rbp != CFI_RBP_UNKNOWN &&
        (rule->rbp == CFI_RBP_BY_FRAME || cursor->is_bp_known) &&
        read_word(cursor, at, &cursor->bp);
}

enum step { STEP_ON, STEP_OUTERMOST, STEP_LOST };

static enum step
step(struct cursor *cursor)
{
    const struct cfi_rule rule = rule_of(cursor->pc - !cursor->is_exact);
    uintptr_t frame;
    uintptr_t pc;
    if (rule.frame == CFI_OUTERMOST)
        return STEP_OUTERMOST;
    if (rule.frame == CFI_SIGNAL)
        return step_out_of_signal(cursor) ? STEP_ON : STEP_LOST;
    if (rule.frame == CFI_UNKNOWN || !find_frame(cursor, &rule, &frame) ||
        frame <= cursor->sp || !read_word(cursor, frame - 8, &pc))
        return STEP_LOST;
    find_bp(cursor, &rule, frame);
    cursor->pc = pc;
    cursor->sp = frame;
    cursor->is_exact = false;
    return pc == 0 ? STEP_OUTERMOST : STEP_ON;
}

/* ---- a stack ----------------------------------------------------------- */

/*
 * Where the stack ends that an address lies in, or 0: it is none that glibc or
 * the kernel made for this thread. The control block of a thread is at its end.
 */
static uintptr_t
stack_end(uintptr_t sp)
{
    const uintptr_t control_block = (uintptr_t)pthread_self();
    const size_t least =
        atomic_load_explicit(&unwind.least_stack, memory_order_relaxed);
    if (sp < unwind.main_end && unwind.main_end - sp < MAIN_STACK_BYTES)
        return unwind.main_end;
    if (control_block != unwind.main_control_block && least != SIZE_MAX &&
        least > ABOVE_BYTES && sp < control_block &&
        control_block - sp < least - ABOVE_BYTES)
        return control_block;
    return 0;
}

static bool
is_ours(uintptr_t pc)
{
    return pc - (uintptr_t)__ehdr_start <
           (uintptr_t)_end - (uintptr_t)__ehdr_start;
}

NOINLINE size_t
unwind_here(uint64_t *frames, size_t most, bool *is_whole)
{
    struct cursor cursor = {.is_exact = true, .is_bp_known = true};
    __asm__ volatile("leaq 0f(%%rip), %0\n\t"
                     "movq %%rsp, %1\n\t"
                     "0: movq %%rbp, %2"
                     : "=&r"(cursor.pc), "=&r"(cursor.sp), "=&r"(cursor.bp));
    size_t n = 0;
    enum step outcome = STEP_LOST;
    cursor.end = stack_end(cursor.sp);
    while (cursor.end != 0 && (outcome = step(&cursor)) == STEP_ON) {
        if (n == 0 && is_ours(cursor.pc))
            continue;
        if (n == most)
            break;
        /* Whoever reads it takes 1 off, to be in the call. */
        frames[n++] = cursor.pc + cursor.is_exact;
    }
    *is_whole = outcome == STEP_OUTERMOST;
    return n;
}
