#include "preload/unwind/cfi.h"

#include <stddef.h>
#include <string.h>

enum {
    RBP = 6, /* DWARF's numbers of x86-64's registers */
    RSP = 7,
    RETURN = 16,
    MOST_REMEMBERED = 4,
    WHOLE_HEADER_BYTES = 12, /* with the encodings that linkers write */
};

/* DW_EH_PE_*: how a pointer is written (LSB 10.5.1). */
enum {
    AS_POINTER = 0x00,
    AS_U4 = 0x03,
    AS_S4 = 0x0b,
    AS_S8 = 0x0c,
    FROM_HERE = 0x10,
    FROM_HEADER = 0x30,
    HOW = 0x0f,
    FROM = 0x70,
};

/* ---- reading ----------------------------------------------------------- */

/* What lies behind the end is zero, and is_short from then on. */
struct bytes {
    const uint8_t *at;
    const uint8_t *end;
    bool is_short;
};

static const uint8_t *
take(struct bytes *bytes, uint64_t n)
{
    if (bytes->is_short || n > (uint64_t)(bytes->end - bytes->at)) {
        bytes->is_short = true;
        return NULL;
    }
    const uint8_t *taken = bytes->at;
    bytes->at += n;
    return taken;
}

static uint64_t
take_unsigned(struct bytes *bytes, unsigned n_bytes)
{
    uint64_t value = 0;
    const uint8_t *taken = take(bytes, n_bytes);
    if (taken != NULL)
        memcpy(&value, taken, n_bytes);
    return value;
}

static int64_t
take_signed(struct bytes *bytes, unsigned n_bytes)
{
    const unsigned shift = 64 - 8 * n_bytes;
    return (int64_t)(take_unsigned(bytes, n_bytes) << shift) >> shift;
}

static uint64_t
take_uleb(struct bytes *bytes)
{
    uint64_t value = 0;
    uint64_t byte = 0x80;
    for (unsigned shift = 0; (byte & 0x80) != 0 && !bytes->is_short;
         shift += 7) {
        byte = take_unsigned(bytes, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
    }
    return value;
}

static int64_t
take_sleb(struct bytes *bytes)
{
    uint64_t value = 0;
    uint64_t byte = 0x80;
    unsigned shift = 0;
    for (; (byte & 0x80) != 0 && !bytes->is_short; shift += 7) {
        byte = take_unsigned(bytes, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
    }
    if ((byte & 0x40) != 0 && shift < 64)
        value |= ~(uint64_t)0 << shift;
    return (int64_t)value;
}

/* A length of bytes by itself. */
static struct bytes
take_block(struct bytes *bytes)
{
    const uint64_t n = take_uleb(bytes);
    const uint8_t *taken = take(bytes, n);
    return taken == NULL ? (struct bytes){.is_short = true}
                         : (struct bytes){.at = taken, .end = taken + n};
}

/* 0, and is_short: it is written in a way that we do not know. */
static uintptr_t
take_pointer(struct bytes *bytes, unsigned encoding, const uint8_t *header)
{
    const uintptr_t here = (uintptr_t)bytes->at;
    int64_t value = 0;
    switch (encoding & HOW) {
    case AS_POINTER:
    case AS_S8:
        value = take_signed(bytes, 8);
        break;
    case AS_U4:
        value = (int64_t)take_unsigned(bytes, 4);
        break;
    case AS_S4:
        value = take_signed(bytes, 4);
        break;
    default:
        bytes->is_short = true;
    }
    switch (encoding & ~(unsigned)HOW) {
    case 0:
        return (uintptr_t)value;
    case FROM_HERE:
        return here + (uintptr_t)value;
    case FROM_HEADER:
        return (uintptr_t)header + (uintptr_t)value;
    default:
        bytes->is_short = true;
        return 0;
    }
}

/* ---- where an address is described ------------------------------------- */

/* An entry of the header's table: both from the header's start. */
struct entry {
    int32_t address;
    int32_t description;
};

/* The last that begins at or before the address; NULL: there is none. */
static const uint8_t *
search(const uint8_t *header, const struct entry *table, uint64_t n_entries,
       uintptr_t address)
{
    const int64_t wanted = (int64_t)(address - (uintptr_t)header);
    uint64_t low = 0;
    uint64_t high = n_entries;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (table[middle].address <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : header + table[low - 1].description;
}

/* A frame description, with its length at the start; NULL: none is found. */
static const uint8_t *
find_description(const struct cfi_tables *tables, uintptr_t address)
{
    const uint8_t *header = tables->header;
    if (header == NULL || (uintptr_t)header < tables->start ||
        (uintptr_t)header + WHOLE_HEADER_BYTES > tables->end)
        return NULL;
    const uint8_t expected[4] = {1, FROM_HERE | AS_S4, AS_U4,
                                 FROM_HEADER | AS_S4};
    if (memcmp(header, expected, sizeof(expected)) != 0)
        return NULL;
    uint32_t n_entries;
    memcpy(&n_entries, header + 8, sizeof(n_entries));
    const uintptr_t table = (uintptr_t)header + WHOLE_HEADER_BYTES;
    if (n_entries > (tables->end - table) / sizeof(struct entry))
        return NULL;
    return search(header, (const struct entry *)table, n_entries, address);
}

/* ---- a description ----------------------------------------------------- */

struct description {
    struct bytes common_program; /* the CIE's instructions */
    struct bytes program;
    uintptr_t address; /* of the first byte that it describes */
    uintptr_t n_bytes;
    uint64_t code_factor;
    int64_t data_factor;
    unsigned encoding; /* of addresses */
    bool is_signal;
};

/* What stands at start is that long; the length is taken. */
static struct bytes
sized(const struct cfi_tables *tables, const uint8_t *start)
{
    struct bytes bytes = {.at = start, .end = (const uint8_t *)tables->end};
    if ((uintptr_t)start < tables->start || (uintptr_t)start >= tables->end)
        bytes.is_short = true;
    const uint64_t n_bytes = take_unsigned(&bytes, 4);
    if (n_bytes == 0 || n_bytes == UINT32_MAX ||
        n_bytes > (uint64_t)(bytes.end - bytes.at))
        bytes.is_short = true;
    else
        bytes.end = bytes.at + n_bytes;
    return bytes;
}

/* What a CIE's augmentation says: zR, zPLR, zRS ... */
static void
read_augmentation(struct bytes *bytes, const char *letters,
                  struct description *description)
{
    struct bytes data = take_block(bytes);
    for (const char *letter = letters + 1; *letter != '\0'; letter++) {
        if (*letter == 'R')
            description->encoding = (unsigned)take_unsigned(&data, 1);
        else if (*letter == 'L')
            take_unsigned(&data, 1);
        else if (*letter == 'S')
            description->is_signal = true;
        else if (*letter == 'P')
            take_pointer(&data, (unsigned)take_unsigned(&data, 1) & HOW, NULL);
        else
            return; /* the rest is not for us */
    }
    bytes->is_short = bytes->is_short || data.is_short;
}

static bool
read_common(struct bytes bytes, struct description *description)
{
    take_unsigned(&bytes, 4); /* 0: it is a CIE */
    const uint64_t version = take_unsigned(&bytes, 1);
    const char *letters = (const char *)bytes.at;
    while (take_unsigned(&bytes, 1) != 0)
        continue;
    if (bytes.is_short || (version != 1 && version != 3))
        return false;
    description->code_factor = take_uleb(&bytes);
    description->data_factor = take_sleb(&bytes);
    const uint64_t column =
        version == 1 ? take_unsigned(&bytes, 1) : take_uleb(&bytes);
    if (letters[0] == 'z')
        read_augmentation(&bytes, letters, description);
    else if (letters[0] != '\0')
        return false;
    description->common_program = bytes;
    return !bytes.is_short && column == RETURN;
}

static bool
read_description(const struct cfi_tables *tables, const uint8_t *start,
                 struct description *description)
{
    struct bytes bytes = sized(tables, start);
    const uint8_t *here = bytes.at;
    const uint64_t back = take_unsigned(&bytes, 4);
    *description = (struct description){.encoding = AS_POINTER};
    if (bytes.is_short || back == 0 || back > (uintptr_t)here - tables->start ||
        !read_common(sized(tables, here - back), description))
        return false;
    description->address = take_pointer(&bytes, description->encoding, NULL);
    description->n_bytes =
        take_pointer(&bytes, description->encoding & HOW, NULL);
    take_block(&bytes); /* with the letter z, which all have */
    description->program = bytes;
    return !bytes.is_short;
}

/* ---- its program ------------------------------------------------------- */

struct row {
    uint64_t frame_register;
    int64_t frame_offset;
    bool is_stored; /* the frame address, at rbp + offset */
    bool is_odd;    /* it is an expression that we do not know */
    bool has_no_return;
    enum cfi_rbp rbp;
    int64_t rbp_offset;
};

struct machine {
    const struct description *description;
    uintptr_t wanted;
    uintptr_t address;
    struct row row;
    struct row initial; /* what the CIE says */
    struct row remembered[MOST_REMEMBERED];
    unsigned n_remembered;
    bool is_lost;
};

static void
set_rbp(struct machine *machine, uint64_t which, enum cfi_rbp rbp,
        int64_t offset)
{
    if (which != RBP)
        return;
    machine->row.rbp = rbp;
    machine->row.rbp_offset = offset;
}

static void
save(struct machine *machine, uint64_t which, int64_t factored)
{
    const int64_t offset = factored * machine->description->data_factor;
    set_rbp(machine, which, CFI_RBP_BY_FRAME, offset);
    if (which == RETURN)
        machine->row.has_no_return = false;
    if (which == RETURN && offset != -8)
        machine->is_lost = true;
}

static void
restore(struct machine *machine, uint64_t which)
{
    set_rbp(machine, which, machine->initial.rbp, machine->initial.rbp_offset);
    if (which == RETURN)
        machine->row.has_no_return = machine->initial.has_no_return;
}

static void
set_frame(struct machine *machine, uint64_t which, int64_t offset)
{
    machine->row.frame_register = which;
    machine->row.frame_offset = offset;
    machine->row.is_stored = false;
    machine->row.is_odd = false;
}

enum { OP_BREG_RBP = 0x76, OP_DEREF = 0x06 };

/* gcc's, where it aligns a stack: the frame address is stored by rbp. */
static void
set_frame_expression(struct machine *machine, struct bytes expression)
{
    const uint64_t first = take_unsigned(&expression, 1);
    const int64_t offset = take_sleb(&expression);
    const uint64_t second = take_unsigned(&expression, 1);
    set_frame(machine, RBP, offset);
    machine->row.is_stored = true;
    machine->row.is_odd = expression.is_short || first != OP_BREG_RBP ||
                          second != OP_DEREF || expression.at != expression.end;
}

static void
set_expression(struct machine *machine, uint64_t which, struct bytes expression)
{
    const uint64_t first = take_unsigned(&expression, 1);
    const int64_t offset = take_sleb(&expression);
    const bool is_known = !expression.is_short && first == OP_BREG_RBP &&
                          expression.at == expression.end;
    set_rbp(machine, which, is_known ? CFI_RBP_BY_RBP : CFI_RBP_UNKNOWN,
            offset);
    if (which == RETURN)
        machine->is_lost = true;
}

static void
remember(struct machine *machine)
{
    if (machine->n_remembered == MOST_REMEMBERED)
        machine->is_lost = true;
    else
        machine->remembered[machine->n_remembered++] = machine->row;
}

static void
recall(struct machine *machine)
{
    if (machine->n_remembered == 0)
        machine->is_lost = true;
    else
        machine->row = machine->remembered[--machine->n_remembered];
}

/* Codes without an operand in their own byte (DWARF 5, 7.24): of the frame. */
static bool
run_frame_code(struct machine *machine, unsigned code, struct bytes *bytes)
{
    const int64_t factor = machine->description->data_factor;
    uint64_t which;
    switch (code) {
    case 0x0c: /* def_cfa */
        which = take_uleb(bytes);
        set_frame(machine, which, (int64_t)take_uleb(bytes));
        return true;
    case 0x0d: /* def_cfa_register */
        set_frame(machine, take_uleb(bytes), machine->row.frame_offset);
        return true;
    case 0x0e: /* def_cfa_offset */
        machine->row.frame_offset = (int64_t)take_uleb(bytes);
        return true;
    case 0x0f: /* def_cfa_expression */
        set_frame_expression(machine, take_block(bytes));
        return true;
    case 0x12: /* def_cfa_sf */
        which = take_uleb(bytes);
        set_frame(machine, which, take_sleb(bytes) * factor);
        return true;
    case 0x13: /* def_cfa_offset_sf */
        machine->row.frame_offset = take_sleb(bytes) * factor;
        return true;
    default:
        return false;
    }
}

/* Of a register, which comes first. */
static bool
run_register_code(struct machine *machine, unsigned code, struct bytes *bytes)
{
    struct bytes operands = *bytes;
    const uint64_t which = take_uleb(&operands);
    switch (code) {
    case 0x05: /* offset_extended */
        save(machine, which, (int64_t)take_uleb(&operands));
        break;
    case 0x06: /* restore_extended */
        restore(machine, which);
        break;
    case 0x07: /* undefined */
        set_rbp(machine, which, CFI_RBP_UNKNOWN, 0);
        machine->row.has_no_return =
            machine->row.has_no_return || which == RETURN;
        break;
    case 0x08: /* same_value */
        set_rbp(machine, which, CFI_RBP_SAME, 0);
        break;
    case 0x09: /* register */
        set_rbp(machine, which, CFI_RBP_UNKNOWN, 0);
        take_uleb(&operands);
        break;
    case 0x10: /* expression */
        set_expression(machine, which, take_block(&operands));
        break;
    case 0x11: /* offset_extended_sf */
        save(machine, which, take_sleb(&operands));
        break;
    case 0x16: /* val_expression */
        set_rbp(machine, which, CFI_RBP_UNKNOWN, 0);
        take_block(&operands);
        break;
    default:
        return false;
    }
    *bytes = operands;
    return true;
}

static void
run_other_code(struct machine *machine, unsigned code, struct bytes *bytes)
{
    const struct description *description = machine->description;
    switch (code) {
    case 0x00: /* nop */
        break;
    case 0x01: /* set_loc */
        machine->address = take_pointer(bytes, description->encoding, NULL);
        break;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        machine->address +=
            take_unsigned(bytes, 1u << (code - 2)) * description->code_factor;
        break;
    case 0x0a:
        remember(machine);
        break;
    case 0x0b:
        recall(machine);
        break;
    case 0x2e: /* GNU_args_size */
        take_uleb(bytes);
        break;
    default:
        machine->is_lost = true;
    }
}

/* Up to the wanted address, or the end. */
static void
run(struct machine *machine, struct bytes bytes)
{
    while (bytes.at < bytes.end && !bytes.is_short && !machine->is_lost &&
           machine->address <= machine->wanted) {
        const unsigned code = (unsigned)take_unsigned(&bytes, 1);
        const unsigned operand = code & 0x3f;
        switch (code >> 6) {
        case 1: /* advance_loc */
            machine->address += operand * machine->description->code_factor;
            break;
        case 2: /* offset */
            save(machine, operand, (int64_t)take_uleb(&bytes));
            break;
        case 3: /* restore */
            restore(machine, operand);
            break;
        default:
            if (!run_frame_code(machine, code, &bytes) &&
                !run_register_code(machine, code, &bytes))
                run_other_code(machine, code, &bytes);
        }
    }
    machine->is_lost = machine->is_lost || bytes.is_short;
}

/* ---- the rule ---------------------------------------------------------- */

static struct cfi_rule
rule_of(const struct row *row)
{
    struct cfi_rule rule = {.rbp = row->rbp};
    const bool fits = row->frame_offset == (int32_t)row->frame_offset &&
                      row->rbp_offset == (int32_t)row->rbp_offset;
    rule.frame_offset = (int32_t)row->frame_offset;
    rule.rbp_offset = (int32_t)row->rbp_offset;
    if (row->has_no_return)
        rule.frame = CFI_OUTERMOST;
    else if (row->is_odd || !fits)
        rule.frame = CFI_UNKNOWN;
    else if (row->is_stored)
        rule.frame = CFI_AT_RBP;
    else if (row->frame_register == RSP)
        rule.frame = CFI_FROM_RSP;
    else if (row->frame_register == RBP)
        rule.frame = CFI_FROM_RBP;
    return rule;
}

struct cfi_rule
cfi_find(const struct cfi_tables *tables, uintptr_t address)
{
    struct description description;
    const uint8_t *start = find_description(tables, address);
    if (start == NULL || !read_description(tables, start, &description) ||
        address - description.address >= description.n_bytes)
        return (struct cfi_rule){.frame = CFI_UNKNOWN};
    if (description.is_signal)
        return (struct cfi_rule){.frame = CFI_SIGNAL};

    struct machine machine = {
        .description = &description,
        .wanted = address,
        .address = description.address,
    };
    run(&machine, description.common_program);
    machine.initial = machine.row;
    run(&machine, description.program);
    if (machine.is_lost)
        return (struct cfi_rule){.frame = CFI_UNKNOWN};
    return rule_of(&machine.row);
}
