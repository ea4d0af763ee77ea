/* Power cuts, crashes and bad boots: whatever happens, the old or the new image runs, and the update ends. */
#include "board_case.h"

static void run_cut(struct board *board, unsigned step, enum cut cut)
{
    struct offer_spec spec = offer_spec(17);
    board_init(board);
    board->cut_at = step;
    board->cut = cut;
    start(board, &spec);
}

/* Counts the durable steps of one undisturbed update. */
static unsigned count_steps(struct board *board)
{
    run_cut(board, 0, CUT_BEFORE);
    assert_string_equal(board_state(board), "confirmed");
    return board->steps;
}

static void cut_at_every_step(void **state)
{
    struct board *board = *state;
    unsigned steps = count_steps(board), aborted = 0;
    assert_true(steps > 300); /* 300 writes and the saves */
    for (unsigned step = 1; step <= steps; step++) {
        for (enum cut cut = CUT_BEFORE; cut <= CUT_AFTER; cut++) {
            run_cut(board, step, cut);
            assert_false(board->on);
            board_boot(board); /* asserts that a slot is bootable */
            board_run(board);
            /* A cut between the first boot of the new image and its confirmation is a failed boot for the
             * boot loader: the old image comes back and says so. Anything else ends in the new one. */
            if (board_runs(board, bench()->old)) {
                assert_string_equal(board_state(board), "rolled_back");
                aborted++;
            } else {
                assert_true(board_runs(board, bench()->fresh));
                assert_string_equal(board_state(board), "confirmed");
            }
        }
    }
    assert_in_range(aborted, 1, 9);
}

static void cut_at_every_5_percent_resumes(void **state)
{
    struct board *board = *state;
    unsigned steps = count_steps(board);
    for (unsigned percent = 5; percent < 100; percent += 5) {
        run_cut(board, steps * percent / 100, CUT_TORN);
        assert_false(board->on);
        assert_true(board_runs(board, bench()->old));
        board->gets = 0;
        board_boot(board);
        board_run(board);
        assert_string_equal(board_state(board), "confirmed");
        assert_true(board_runs(board, bench()->fresh));
        /* It went on from the last checkpoint, 64 KiB back at most and a little for rounding. */
        assert_int_equal(board->gets, 1);
        unsigned done = IMAGE * percent / 100;
        assert_true(board->get_offset + 64 * 1024 + 4096 + 5000 >= done);
    }
}

static void cut_at_every_step_of_the_second_half(void **state) /* two cuts in one update */
{
    struct board *board = *state;
    unsigned steps = count_steps(board);
    for (unsigned step = 20; step < steps - 10; step += 37) {
        run_cut(board, step, CUT_TORN);
        board->cut_at = board->steps + 11;
        board_boot(board);
        board_run(board);
        assert_false(board->on);
        board_boot(board);
        board_run(board);
        assert_string_equal(board_state(board), "confirmed");
    }
}

static void both_copies_of_the_record_lost(void **state)
{
    struct board *board = *state;
    run_cut(board, 200, CUT_TORN);
    memset(board->record, 0x5A, sizeof board->record);
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_int_equal(board->get_offset, 0);
}

static void flash_that_forgot_is_noticed(void **state)
{
    struct board *board = *state;
    run_cut(board, 200, CUT_TORN);
    board->flash[1][20000] ^= 1;
    board_boot(board);
    for (int i = 0; i < 3; i++) {
        board_run(board);
    }
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board_runs(board, bench()->fresh));
}

static void crash_after_boot(void **state)
{
    struct board *board = *state;
    board->crashes = 1;
    struct offer_spec spec = offer_spec(17);
    board_boot(board);
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board->states_seen, "accepted downloading verifying rebooting rolled_back ");
    assert_non_null(strstr(board->status_text, "the new image did not start"));
    assert_non_null(strstr(board->status_text, "\"firmware_version\":\"1.2.0\""));
    assert_true(board_runs(board, bench()->old));
    board_boot(board); /* said once more after a restart, and the offer is not tried again */
    board_run(board);
    assert_string_equal(board_state(board), "rolled_back");
    assert_int_equal(board->gets, 1);
    spec = offer_spec(18); /* a later update of the slot that was given up */
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
}

static void failed_selftest(void **state)
{
    struct board *board = *state;
    board->selftest = "sensor does not answer";
    struct offer_spec spec = offer_spec(17);
    board_boot(board);
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "rolled_back");
    assert_non_null(strstr(board->status_text, "sensor does not answer"));
    assert_true(board_runs(board, bench()->old));
    assert_int_equal(board->states[1], BOOT_INVALID);
}

static void not_confirmed_without_a_connection(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->mute = true; /* stays in "rebooting" for 5 s */
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 4000);
    assert_string_equal(board_state(board), "rebooting");
    assert_true(board_runs(board, bench()->old));
    board->broker_down = true;
    board_pass(board, 5 * 60 * 1000);
    assert_true(board_runs(board, bench()->fresh));
    assert_int_equal(board->states[1], BOOT_PENDING);
    board_pass(board, 11 * 60 * 1000);
    assert_true(board_runs(board, bench()->old));
    board->broker_down = board->mute = false;
    board_run(board);
    assert_string_equal(board_state(board), "rolled_back");
    assert_non_null(strstr(board->status_text, "no connection to the broker"));
}

static void an_offer_waits_for_the_selftest(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(18);
    static uint8_t third[IMAGE];
    image_make(third, IMAGE, "x", 0, 0x33);
    board_boot(board);
    board_offer(board, &spec);
    board->mute = true;
    board_pass(board, 4000);
    next.image = third;
    next.version = "1.4.0";
    offer_write(board->offer, &next); /* found there by the new image, before it is confirmed */
    board->image = third;
    board->mute = false;
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board_runs(board, third));
}

/* Nothing is due meanwhile: a board that asks without end trips over board_pass's count of turns. */
static void an_offer_without_a_clock_waits_quietly_for_the_selftest(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(18);
    board_boot(board);
    board_offer(board, &spec);
    board->mute = true;
    board_pass(board, 4000);
    offer_write(board->offer, &next);
    board->mute = false;
    board->selftest_hangs = true;
    board_pass(board, 10 * 1000); /* into the new image */
    assert_int_equal(board->states[1], BOOT_PENDING);
    otad_client_clock(&board->client, 0, 0);
    board_pass(board, 16 * 60 * 1000);
    assert_non_null(strstr(board->logs, "the self-test took too long"));
}

static void a_failed_save_leaves_the_other_copy_alone(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board_boot(board);
    board_offer(board, &spec);
    board_run(board);
    board->torn_saves = 1;
    board_clear(board);
    board_run(board);
    assert_int_equal(board->torn_saves, 0);
    spec = offer_spec(18);
    board->cut_at = board->steps + 1; /* the next save, torn by a cut */
    board->cut = CUT_TORN;
    board_offer(board, &spec);
    board_run(board);
    assert_false(board->on);
    board->offer[0] = '\0';
    board_boot(board);
    board_pass(board, 1000);
    assert_non_null(strstr(board->status_text, "\"firmware_version\":\"1.3.0\"")); /* only the record knows */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(cut_at_every_step),
        CASE(cut_at_every_5_percent_resumes),
        CASE(cut_at_every_step_of_the_second_half),
        CASE(both_copies_of_the_record_lost),
        CASE(flash_that_forgot_is_noticed),
        CASE(crash_after_boot),
        CASE(failed_selftest),
        CASE(not_confirmed_without_a_connection),
        CASE(an_offer_waits_for_the_selftest),
        CASE(an_offer_without_a_clock_waits_quietly_for_the_selftest),
        CASE(a_failed_save_leaves_the_other_copy_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
