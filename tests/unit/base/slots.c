/* SPDX-License-Identifier: MIT */
#include "base/slots.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CAPACITY 57

static void test_last_back_first_out(void **state)
{
    uint32_t links[3];
    struct slots slots;

    (void)state;
    slots_init(&slots, links, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(slots_take(&slots), i);
    assert_int_equal(slots_take(&slots), SLOT_NONE);
    slots_release(&slots, 0);
    slots_release(&slots, 2);
    assert_int_equal(slots.live, 1);
    assert_int_equal(slots_take(&slots), 2);
    assert_int_equal(slots_take(&slots), 0);
    assert_int_equal(slots_take(&slots), SLOT_NONE);
    assert_int_equal(slots.live, 3);
}

static void test_no_capacity(void **state)
{
    struct slots slots;

    (void)state;
    slots_init(&slots, NULL, 0);
    assert_int_equal(slots_take(&slots), SLOT_NONE);
    assert_false(slots_is_taken(&slots, 0));
}

/* The contract: memory that is not cleared will do, and nothing beyond what was taken is touched. */
static void test_untouched_memory(void **state)
{
    uint32_t links[CAPACITY];
    uint32_t before[CAPACITY];
    struct slots slots;

    (void)state;
    memset(links, 0xa5, sizeof(links));
    memcpy(before, links, sizeof(links));
    slots_init(&slots, links, CAPACITY);
    for (int round = 0; round < 10; round++) {
        slots_release(&slots, slots_take(&slots));
        slots_take(&slots);
    }
    assert_memory_equal(links + 10, before + 10, sizeof(links) - 10 * sizeof(links[0]));
}

/* Against the plainest model there is: an array of flags. Memory full of the mark of a taken slot must not mislead. */
static void test_against_a_model(void **state)
{
    uint32_t links[CAPACITY];
    bool taken[CAPACITY + 2] = {false};
    uint32_t live = 0;
    unsigned seed = 1;
    struct slots slots;

    (void)state;
    memset(links, 0xff, sizeof(links));
    for (int i = 0; i < CAPACITY; i++)
        links[i] = UINT32_MAX - 1;
    slots_init(&slots, links, CAPACITY);
    for (int step = 0; step < 200000; step++) {
        /* The bias moves, so that the table is filled and emptied again and again. */
        if (rand_r(&seed) % 100 < (step / 1000 % 2 == 0 ? 70 : 30)) {
            uint32_t slot = slots_take(&slots);
            if (slot == SLOT_NONE) {
                assert_int_equal(live, CAPACITY);
                continue;
            }
            assert_in_range(slot, 0, CAPACITY - 1);
            assert_false(taken[slot]);
            taken[slot] = true;
            live++;
        } else {
            uint32_t slot = (uint32_t)rand_r(&seed) % CAPACITY;
            assert_int_equal(slots_is_taken(&slots, slot), taken[slot]);
            if (!taken[slot])
                continue;
            slots_release(&slots, slot);
            taken[slot] = false;
            live--;
        }
        assert_int_equal(slots.live, live);
    }
    for (uint32_t slot = 0; slot < CAPACITY + 2; slot++)
        assert_int_equal(slots_is_taken(&slots, slot), taken[slot]);
}

/* How a process ends that gives back `slot` of slots 0 to 2, of which 1 is free; its message is not for us. */
static int ends_on_release(uint32_t slot)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const struct rlimit none = {0, 0};
        uint32_t links[4];
        struct slots slots;
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        slots_init(&slots, links, 4);
        for (int i = 0; i < 3; i++)
            slots_take(&slots);
        slots_release(&slots, 1);
        slots_release(&slots, slot);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_giving_back_what_is_not_taken(void **state)
{
    (void)state;
    assert_int_equal(ends_on_release(0), 0);
    assert_int_equal(ends_on_release(1), SIGABRT);
    assert_int_equal(ends_on_release(3), SIGABRT);
    assert_int_equal(ends_on_release(4), SIGABRT);
    assert_int_equal(ends_on_release(SLOT_NONE), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_back_first_out),
        cmocka_unit_test(test_no_capacity),
        cmocka_unit_test(test_untouched_memory),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_giving_back_what_is_not_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
