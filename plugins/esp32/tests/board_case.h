/* What the cases on a board in memory share: each starts with a board of its own. */
#pragma once
#include "board.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline int setup(void **state)
{
    *state = malloc(sizeof(struct board));
    board_init(*state);
    return 0;
}

static inline int teardown(void **state)
{
    free(*state);
    return 0;
}

static inline void start(struct board *board, const struct offer_spec *spec)
{
    board_boot(board);
    board_offer(board, spec);
    board_run(board);
}

static inline void assert_untouched(const struct board *board, const char *state, const char *error)
{
    assert_string_equal(board_state(board), state);
    assert_non_null(strstr(board->status_text, error));
    assert_true(board_runs(board, bench()->old));
    assert_int_equal(board->boots, 1);
}
