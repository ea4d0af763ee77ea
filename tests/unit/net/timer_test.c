#include "net/timer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What the heap does is compared with a plain array of what was set. */
enum { COUNT = 300 };

struct model {
    struct timer timer; /* first: on_fire casts */
    bool set;
    unsigned fired;
};

static struct model models[COUNT];
static uint64_t last_fired; /* `at` of the last one */

static void on_fire(struct timer *timer)
{
    struct model *model = (struct model *)timer;
    assert_true(model->set);
    assert_int_equal(timer->slot, 0);
    assert_true(timer->at <= clock_ms());
    assert_true(timer->at >= last_fired);
    last_fired = timer->at;
    model->set = false;
    model->fired++;
}

static uint64_t earliest(void)
{
    uint64_t at = UINT64_MAX;
    for (int i = 0; i < COUNT; i++) {
        if (models[i].set && models[i].timer.at < at)
            at = models[i].timer.at;
    }
    return at;
}

static void test_random_operations_against_a_model(void **state)
{
    struct timers *timers = timers_new();
    unsigned expected = 0, fired = 0;
    memset(models, 0, sizeof(models));
    for (int i = 0; i < COUNT; i++)
        models[i].timer.fire = on_fire;
    srand(1);
    for (int step = 0; step < 60000; step++) {
        struct model *model = &models[rand() % COUNT];
        switch (rand() % 4) {
        case 0:
        case 1:
            expected += !model->set;
            timer_set(timers, &model->timer, (uint64_t)(rand() % 40));
            model->set = true;
            break;
        case 2:
            expected -= model->set;
            timer_cancel(timers, &model->timer);
            model->set = false;
            assert_int_equal(model->timer.slot, 0);
            break;
        default:
            last_fired = 0;
            uint64_t before = clock_ms(), left = timers_run(timers, 1000), next = earliest();
            assert_true(next > before); /* nothing that was due is left */
            assert_true(next == UINT64_MAX ? left == 1000 : left == 0 || before + left <= next);
            assert_true(next == UINT64_MAX || clock_ms() + left >= next);
        }
    }
    while (earliest() != UINT64_MAX) {
        last_fired = 0;
        usleep((useconds_t)timers_run(timers, 10) * 1000);
    }
    for (int i = 0; i < COUNT; i++)
        fired += models[i].fired;
    assert_int_equal(fired, expected);
    assert_int_equal(timers_run(timers, 77), 77);
    timers_free(timers);
}

struct again {
    struct timer timer;
    struct timers *timers;
    struct timer *other;
    unsigned fired;
};

static void on_again(struct timer *timer)
{
    struct again *again = (struct again *)timer;
    again->fired++;
    if (again->other != NULL)
        timer_cancel(again->timers, again->other);
    if (again->fired < 3)
        timer_set(again->timers, timer, 5);
}

static void test_fired_ones_set_themselves_and_cancel_others(void **state)
{
    struct timers *timers = timers_new();
    struct again other = {.timer.fire = on_again, .timers = timers};
    struct again first = {.timer.fire = on_again, .timers = timers, .other = &other.timer};
    timer_set(timers, &first.timer, 0);
    usleep(2000);
    timer_set(timers, &other.timer, 0);
    for (int i = 0; i < 10; i++) {
        timers_run(timers, 10);
        usleep(3000);
    }
    assert_int_equal(first.fired, 3);
    assert_int_equal(other.fired, 0);
    timers_free(timers);
}

static void on_slow(struct timer *timer)
{
    usleep(30000);
}

/* The wait was counted from before the callbacks: the next timer came late by what they took. */
static void test_slow_callbacks_do_not_delay_the_next(void **state)
{
    struct timers *timers = timers_new();
    struct timer slow = {.fire = on_slow}, next = {.fire = on_slow};
    timer_set(timers, &slow, 0);
    timer_set(timers, &next, 40);
    assert_in_range(timers_run(timers, 1000), 0, 10);
    timers_free(timers);
    assert_int_equal(next.slot, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations_against_a_model),
        cmocka_unit_test(test_fired_ones_set_themselves_and_cancel_others),
        cmocka_unit_test(test_slow_callbacks_do_not_delay_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
