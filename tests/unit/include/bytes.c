#include "include/bytes.h"

#include "tests/unit/check.h"

static const unsigned char some[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

Test(bytes, a_take_copies_and_moves_on)
{
    struct bytes bytes = bytes_over(some, sizeof(some));
    unsigned char two[2];
    bytes_take(&bytes, two, sizeof(two));
    check_eq(two[0], 1);
    check_eq(two[1], 2);
    bytes_take(&bytes, two, sizeof(two));
    check_eq(two[0], 3);
    check_eq(bytes.left, 6);
    check_true(bytes_ok(&bytes));
}

Test(bytes, numbers_are_read_as_the_machine_writes_them)
{
    const struct {
        uint64_t eight;
        uint32_t four;
        uint16_t two;
    } __attribute__((packed)) record = {0x0102030405060708, 0xaabbccdd, 0x1234};
    struct bytes bytes = bytes_over(&record, sizeof(record));
    check_eq(bytes_u64(&bytes), record.eight);
    check_eq(bytes_u32(&bytes), record.four);
    check_eq(bytes_u16(&bytes), record.two);
    check_true(bytes_ok(&bytes));
    check_eq(bytes.left, 0);
}

Test(bytes, a_take_past_the_end_gives_zeroes)
{
    struct bytes bytes = bytes_over(some, 3);
    check_eq(bytes_u32(&bytes), 0);
    check_false(bytes_ok(&bytes));
}

Test(bytes, having_run_out_sticks_even_for_what_would_fit)
{
    struct bytes bytes = bytes_over(some, 3);
    bytes_u32(&bytes);
    check_eq(bytes_u16(&bytes), 0);
    cr_assert_null(bytes_view(&bytes, 1));
    unsigned char one = 77;
    bytes_take(&bytes, &one, 1);
    check_eq(one, 0);
    check_false(bytes_ok(&bytes));
}

Test(bytes, a_view_points_into_the_bytes)
{
    struct bytes bytes = bytes_over(some, sizeof(some));
    bytes_u16(&bytes);
    const unsigned char *view = bytes_view(&bytes, 3);
    check_true(view == some + 2);
    check_eq(bytes_u16(&bytes), 0x0706);
}

Test(bytes, a_view_past_the_end_is_null)
{
    struct bytes bytes = bytes_over(some, 4);
    cr_assert_null(bytes_view(&bytes, 5));
    check_false(bytes_ok(&bytes));
}

Test(bytes, all_of_it_may_be_taken_and_then_nothing)
{
    struct bytes bytes = bytes_over(some, sizeof(some));
    cr_assert_not_null(bytes_view(&bytes, sizeof(some)));
    cr_assert_not_null(bytes_view(&bytes, 0));
    check_true(bytes_ok(&bytes));
    cr_assert_null(bytes_view(&bytes, 1));
}

Test(bytes, a_size_near_the_end_of_all_numbers_does_not_wrap)
{
    struct bytes bytes = bytes_over(some, sizeof(some));
    bytes_u16(&bytes);
    cr_assert_null(bytes_view(&bytes, SIZE_MAX));
    check_false(bytes_ok(&bytes));
}

Test(bytes, no_bytes_are_out_at_once)
{
    struct bytes bytes = bytes_over(NULL, 0);
    check_true(bytes_ok(&bytes));
    check_eq(bytes_u64(&bytes), 0);
    check_false(bytes_ok(&bytes));
}
