/* Downloads against a board in memory: connections that break, servers that answer something else, images
 * that are not what was promised. */
#include "board_case.h"

static void bit_flips_in_the_image(void **state)
{
    static const size_t places[] = {0, 12, 0x20, 0x20 + 144, 300, 100000, IMAGE - 1};
    static uint8_t image[IMAGE];
    struct offer_spec spec = offer_spec(17);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct board *board = *state;
        memcpy(image, bench()->fresh, IMAGE);
        image[places[i]] ^= 4;
        board->image = image;
        start(board, &spec);
        assert_untouched(board, "failed", "image");
        assert_int_equal(board->active, 0);
        assert_false(board->open || board->fetching);
        board_init(board);
    }
}

static void longer_than_declared(void **state)
{
    static uint8_t image[IMAGE + 5000];
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    memcpy(image, bench()->fresh, IMAGE);
    memset(image + IMAGE, 0x55, 5000);
    board->image = image;
    board->image_len = sizeof image;
    start(board, &spec);
    assert_untouched(board, "failed", "image longer than declared");
    assert_true(board->served <= IMAGE + 1000);
    for (size_t i = IMAGE; i < SLOT; i++) {
        assert_int_equal(board->flash[1][i], 0xFF);
    }
    board_init(board);
    board->said_total = IMAGE + 1;
    start(board, &spec);
    assert_untouched(board, "failed", "image longer than declared");
    assert_int_equal(board->flash[1][0], 0xFF);
}

static void shorter_than_declared_is_retried_then_fails(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->image_len = IMAGE - 1;
    board->config.retries = 3;
    start(board, &spec);
    assert_untouched(board, "failed", "connection closed early");
    assert_int_equal(board->gets, 4);
}

static void resumes_over_broken_connections(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->break_every = 7000;
    board->config.retries = 12; /* without 64 KiB of progress */
    board->config.backoff = 1;
    start(board, &spec);
    assert_string_equal(board_state(board), "confirmed");
    assert_int_equal(board->gets, IMAGE / 7000 + 1);
}

static void passes_over_what_a_server_without_ranges_repeats(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->break_every = 200 * 1000;
    board->ignore_range = true;
    board->config.retries = 2;
    start(board, &spec);
    assert_string_equal(board_state(board), "failed"); /* it never gets past 200 kB */
    assert_int_equal(board->gets, 3);
    board_init(board);
    board->break_every = 200 * 1000;
    board->ignore_range = true;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board->break_every = 0;
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
}

static void a_changed_file_is_fetched_once_more_whole(void **state)
{
    static uint8_t other[IMAGE];
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    memcpy(other, bench()->fresh, IMAGE);
    memset(other + 1000, 7, 50 * 1000);
    board->image = other;
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board->break_every = 0;
    board->image = bench()->fresh;
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_non_null(strstr(board->logs, "starting again"));
}

static void another_range_is_not_taken(void **state)
{
    static const int64_t shifts[] = {1, -1, -100 * 1000, INT64_MAX / 2};
    struct offer_spec spec = offer_spec(17);
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
        struct board *board = *state;
        board_init(board);
        board->break_every = 100 * 1000;
        board->range_shift = shifts[i];
        start(board, &spec);
        assert_untouched(board, "failed", "answer to another range");
        board->range_shift = 0;
        spec.update_id++;
        board_offer(board, &spec);
        board_run(board);
        assert_string_equal(board_state(board), "confirmed");
    }
}

static void http_errors(void **state)
{
    static const struct {
        int status;
        unsigned gets;
        const char *error;
    } cases[] = {{404, 1, "HTTP 404"},
                 {302, 1, "HTTP 302"},
                 {416, 1, "HTTP 416"},
                 {503, 9, "HTTP 503"},
                 {429, 9, "HTTP 429"}};
    struct offer_spec spec = offer_spec(17);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct board *board = *state;
        board_init(board);
        board->status = cases[i].status;
        board_boot(board);
        board_offer(board, &spec);
        board_pass(board, 60 * 60 * 1000);
        assert_untouched(board, "failed", cases[i].error);
        assert_int_equal(board->gets, cases[i].gets);
    }
}

static void a_renewal_of_another_size_is_another_offer(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board->break_every = 0;
    spec.hashed = IMAGE; /* the release signature says nothing of the size */
    spec.size = 50 * 1000;
    board_offer(board, &spec);
    board_run(board);
    assert_untouched(board, "failed", "image longer than declared");
    assert_int_equal(board->gets, 2);
    assert_true(board->get_offset == 0 && board->served <= 51 * 1000);
}

/* A broker that lost what it retained gets it from the server again, later than the device waits. */
static void an_offer_that_was_only_absent_goes_on(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board->offer[0] = '\0';
    otad_client_disconnected(&board->client, board->now);
    board->break_every = 0;
    board->status = 503;
    board_pass(board, 60 * 1000);
    assert_string_equal(board_state(board), "");
    assert_false(board->open || board->fetching);
    board_boot(board); /* nor does it speak of it after a restart */
    board_pass(board, 1000);
    assert_string_equal(board_state(board), "");
    board->status = 0;
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board->get_offset > 60 * 1000);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(bit_flips_in_the_image),
        CASE(longer_than_declared),
        CASE(shorter_than_declared_is_retried_then_fails),
        CASE(resumes_over_broken_connections),
        CASE(passes_over_what_a_server_without_ranges_repeats),
        CASE(a_changed_file_is_fetched_once_more_whole),
        CASE(another_range_is_not_taken),
        CASE(http_errors),
        CASE(a_renewal_of_another_size_is_another_offer),
        CASE(an_offer_that_was_only_absent_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
