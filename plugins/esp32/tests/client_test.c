/* The client's state machine against a board in memory: updates that work, offers that must be refused.
 * What goes wrong on the way of an image: download_test.c. */
#include "board_case.h"

/* Nothing was fetched, nothing written. */
static void assert_rejected(struct board *board, const struct offer_spec *spec, const char *error)
{
    start(board, spec);
    assert_untouched(board, "rejected", error);
    assert_int_equal(board->gets, 0);
    assert_int_equal(board->flash[1][0], 0xFF);
}

static void updates_and_clears(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    start(board, &spec);
    assert_string_equal(board->states_seen, "accepted downloading verifying rebooting confirmed ");
    assert_true(board_runs(board, bench()->fresh));
    assert_int_equal(board->states[1], BOOT_VALID);
    assert_non_null(strstr(board->status_text, "\"firmware_version\":\"1.3.0\"")); /* the offer's name */
    assert_non_null(strstr(board->status_text,
                           "\"update_id\":17,\"state\":\"confirmed\",\"progress\":100,\"error\":null"));
    assert_non_null(strstr(board->status_text, "\"elf_sha256\":\"2222"));
    board_clear(board);
    board_run(board);
    assert_string_equal(board_state(board), "");
    board_boot(board); /* the name and the silence outlive a restart */
    board_run(board);
    assert_string_equal(board_state(board), "");
    assert_non_null(strstr(board->status_text, "\"firmware_version\":\"1.3.0\""));
}

static void repeats_until_cleared(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    start(board, &spec);
    for (int i = 0; i < 3; i++) {
        board->status_text[0] = '\0';
        board_pass(board, 70 * 1000); /* a heartbeat */
        assert_string_equal(board_state(board), "confirmed");
    }
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_int_equal(board->gets, 1);
}

static void absent_offer_counts_as_cleared(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    start(board, &spec);
    board->offer[0] = '\0'; /* cleared while the device was away */
    otad_client_disconnected(&board->client, board->now);
    board_run(board);
    assert_string_equal(board_state(board), "");
}

static void replayed_offer_changes_nothing(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), older = offer_spec(9);
    start(board, &spec);
    board_clear(board);
    board_run(board);
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    older.image = bench()->old;
    older.version = "1.2.0";
    board_offer(board, &older);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_non_null(strstr(board->status_text, "\"update_id\":17"));
    assert_int_equal(board->gets, 1);
    assert_true(board_runs(board, bench()->fresh));
}

static void
renumbered_server_is_believed(void **state) /* restored from a backup: ids went back, time did not */
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(9);
    start(board, &spec);
    next.image = board->image = bench()->old;
    next.version = "1.2.0";
    next.issued_at++;
    board_offer(board, &next);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board_runs(board, bench()->old));
}

static void an_offer_from_the_future_does_not_bar_later_ones(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(18);
    spec.issued_at += 1000000;
    spec.expires_at += 1000000;
    start(board, &spec);
    assert_true(board_runs(board, bench()->fresh));
    next.image = board->image = bench()->old;
    next.version = "1.2.0";
    next.issued_at += 600;
    board_offer(board, &next);
    board_run(board);
    assert_true(board_runs(board, bench()->old));
}

static void already_running_is_confirmed_at_once(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    spec.image = bench()->old;
    start(board, &spec);
    assert_string_equal(board_state(board), "confirmed");
    assert_int_equal(board->gets, 0);
    assert_non_null(strstr(board->status_text, "\"firmware_version\":\"1.3.0\""));
}

static void tampered_manifest(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    offer_write(board->offer, &spec);
    strstr(board->offer, "1.3.0")[0] = '9';
    board_boot(board);
    board_run(board);
    assert_untouched(board, "rejected", "wrong manifest signature");
    assert_non_null(strstr(board->status_text, "\"update_id\":17"));
    assert_int_equal(board->gets, 0);
}

static void unknown_manifest_key(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.manifest_key = bench()->thief_secret;
    spec.manifest_public = bench()->thief_public;
    assert_rejected(*state, &spec, "unknown manifest key");
}

static void foreign_device(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.device_id = 43;
    assert_rejected(*state, &spec, "offer for another device");
}

static void wrong_chip(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.chip = "esp32s3";
    assert_rejected(*state, &spec, "offer for another chip");
}

static void expired(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.expires_at = spec.issued_at;
    assert_rejected(*state, &spec, "offer expired");
}

static void renewed_after_expiry(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    spec.expires_at = spec.issued_at;
    assert_rejected(board, &spec, "offer expired");
    spec.expires_at += 7200;
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
}

static void stolen_manifest_key(void **state) /* the thief signs manifests, but no release */
{
    struct offer_spec spec = offer_spec(17);
    spec.release_key = bench()->thief_secret;
    spec.release_public = bench()->thief_public;
    assert_rejected(*state, &spec, "unknown release key");
    teardown(state);
    setup(state);
    spec.release_public = bench()->release_public;
    assert_rejected(*state, &spec, "wrong release signature");
    teardown(state);
    setup(state);
    spec.release_key = bench()->manifest_secret; /* the manifest key itself is no release key */
    spec.release_public = bench()->manifest_public;
    assert_rejected(*state, &spec, "unknown release key");
}

static void rollback_needs_a_release_too(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.action = "rollback";
    spec.release_key = bench()->thief_secret;
    assert_rejected(*state, &spec, "wrong release signature");
}

static void too_large(void **state)
{
    static uint8_t big[SLOT + 4];
    struct offer_spec spec = offer_spec(17);
    image_make(big, sizeof big, "2", 0, 5);
    spec.image = big;
    spec.size = sizeof big;
    assert_rejected(*state, &spec, "image larger than the slot");
}

static void plain_http_only_where_allowed(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    spec.url = "http://otad.example/ota/t0ken";
    assert_rejected(board, &spec, "url is not https");
    board->config.trust.allow_http = true;
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
}

static void malformed_is_only_logged(void **state)
{
    struct board *board = *state;
    strcpy(board->offer, "{\"manifest\":\"{}\",\"signature\":\"\",\"key\":\"00000000\"}");
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "");
    assert_non_null(strstr(board->logs, "malformed offer"));
}

static void without_release(void **state)
{
    struct offer_spec spec = offer_spec(17);
    spec.unreleased = true;
    assert_rejected(*state, &spec, "no release signature");
}

/* The server heard nothing of these, and the update stayed offered until it timed out. */
static void malformed_but_signed(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    spec.broken_from = "\"version\"";
    assert_rejected(board, &spec, "malformed manifest");
    assert_non_null(strstr(board->status_text, "\"update_id\":17"));
}

static void malformed_and_not_certainly_ours(void **state)
{
    struct board *board = *state;
    struct offer_spec forged = offer_spec(17), foreign = offer_spec(18), unknown = offer_spec(19);
    forged.broken_from = foreign.broken_from = "\"version\"";
    forged.manifest_key = bench()->thief_secret;
    foreign.device_id = 43;
    unknown.broken_from = "\"device_id\"";
    board_boot(board);
    board_offer(board, &forged);
    board_offer(board, &foreign);
    board_offer(board, &unknown);
    board_run(board);
    assert_string_equal(board_state(board), "");
    assert_non_null(strstr(board->logs, "malformed manifest"));
}

static void an_older_offer_is_answered_once_all_is_told(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(18);
    start(board, &spec);
    next.issued_at -= 100; /* the server's clock was set back */
    next.image = bench()->old;
    board_offer(board, &next);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed"); /* the server may not know yet */
    board_clear(board);
    board_run(board);
    board_offer(board, &next);
    board_run(board);
    assert_string_equal(board_state(board), "rejected");
    assert_non_null(strstr(board->status_text, "\"update_id\":18"));
    assert_non_null(strstr(board->status_text, "older than the offer before"));
    assert_true(board_runs(board, bench()->fresh));
    board_clear(board);
    board_run(board);
    assert_string_equal(board_state(board), "");
}

static void bad_offers_do_not_disturb_an_update(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), foreign = offer_spec(18), forged = offer_spec(19);
    struct offer_spec stale = offer_spec(9), broken = offer_spec(8);
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0); /* the first connection broke; it waits to retry */
    assert_string_equal(board_state(board), "downloading");
    char bad[OTAD_OFFER_MAX];
    foreign.device_id = 43;
    offer_write(bad, &foreign);
    otad_client_offer(&board->client, board->now, bad, strlen(bad));
    forged.manifest_key = bench()->thief_secret;
    offer_write(bad, &forged);
    otad_client_offer(&board->client, board->now, bad, strlen(bad));
    otad_client_offer(&board->client, board->now, "garbage", 7);
    stale.issued_at -= 1000; /* signed once, and sent again */
    stale.unreleased = true;
    offer_write(bad, &stale);
    otad_client_offer(&board->client, board->now, bad, strlen(bad));
    broken.broken_from = "\"version\"";
    offer_write(bad, &broken);
    otad_client_offer(&board->client, board->now, bad, strlen(bad));
    board_run(board);
    assert_string_equal(board->states_seen, "accepted downloading verifying rebooting confirmed ");
    otad_client_offer(&board->client, board->now, bad, strlen(bad));
    board_run(board);
    assert_string_equal(board->states_seen, "accepted downloading verifying rebooting confirmed ");
}

static void clear_cancels(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board_clear(board);
    board_run(board);
    assert_string_equal(board_state(board), "");
    assert_int_equal(board->gets, 1);
    assert_false(board->open || board->fetching);
    assert_true(board_runs(board, bench()->old));
    board->break_every = 0;
    struct offer_spec next = offer_spec(18);
    board_offer(board, &next);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
}

static void a_newer_offer_replaces_the_older(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), next = offer_spec(18);
    board->break_every = 100 * 1000;
    board_boot(board);
    board_offer(board, &spec);
    board_pass(board, 0);
    board->break_every = 0;
    board_offer(board, &next);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_non_null(strstr(board->status_text, "\"update_id\":18"));
}

static void rollback_boots_the_other_slot(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17), back = offer_spec(18), again = offer_spec(19);
    start(board, &spec);
    back.action = "rollback";
    back.image = bench()->old;
    back.version = "1.2.0";
    board_offer(board, &back);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board_runs(board, bench()->old));
    assert_int_equal(board->gets, 1); /* nothing was fetched for it */
    again.action = "rollback";        /* the slot holds something else by now: installed */
    board->flash[1][200 * 1000] ^= 1;
    board_offer(board, &again);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    assert_true(board_runs(board, bench()->fresh));
    assert_int_equal(board->gets, 2);
}

static void jitter_is_bounded_and_steady(void **state)
{
    uint64_t waits[3];
    for (int i = 0; i < 3; i++) {
        struct board *board = *state;
        struct offer_spec spec = offer_spec(17);
        board_init(board);
        board->config.max_jitter = 60 * 1000;
        board->config.trust.device_id = spec.device_id = i == 2 ? 43 : 42;
        board->boots = (uint32_t)i * 100; /* another nonce */
        start(board, &spec);
        assert_string_equal(board_state(board), "confirmed");
        waits[i] = board->first_get_at;
        assert_true(waits[i] < 60 * 1000);
    }
    assert_int_equal(waits[0], waits[1]);
    assert_int_not_equal(waits[0], waits[2]);
}

static void unset_clock(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board_boot(board);
    otad_client_clock(&board->client, 0, 0);
    board_offer(board, &spec);
    board_pass(board, 60 * 1000);
    assert_int_equal(board->gets, 0); /* it waits */
    otad_client_clock(&board->client, board->now, spec.issued_at + 1);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    board_init(board);
    board_boot(board);
    otad_client_clock(&board->client, 0, 0);
    board_offer(board, &spec);
    board_run(board);
    assert_untouched(board, "rejected", "the clock is not set");
}

static void an_attempt_that_ends_in_nothing_is_given_up(void **state)
{
    struct board *board = *state;
    board->deaf = true;
    board_boot(board);
    board_run(board);
    assert_in_range(board->connects, 3, 20); /* in 10 minutes */
    assert_int_equal(board->status_text[0], 0);
    board->deaf = false;
    board_run(board);
    assert_non_null(strstr(board->status_text, "online"));
}

/* The new firmware trusts other keys, or no plain http any more: its own update is not undone by that. */
static void the_new_image_need_not_like_its_offer(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    spec.url = "http://otad.example/ota/t0ken";
    board->config.trust.allow_http = true;
    start(board, &spec);
    assert_string_equal(board_state(board), "confirmed");
    board->config.trust.allow_http = false;
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    memcpy(board->config.trust.manifest_key[0], bench()->thief_public, 32);
    board_boot(board);
    board_run(board);
    assert_string_equal(board_state(board), "confirmed");
    spec = offer_spec(18); /* others are refused as ever */
    board_offer(board, &spec);
    board_run(board);
    assert_string_equal(board_state(board), "rejected");
    assert_non_null(strstr(board->status_text, "\"update_id\":18"));
}

static void secure_version_is_the_boot_loaders_word(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->set_boot_code = 0x1504;
    start(board, &spec);
    assert_untouched(board, "failed", "secure version too small (0x1504)");
}

static void a_state_that_cannot_be_saved_stops_the_update(void **state)
{
    struct board *board = *state;
    struct offer_spec spec = offer_spec(17);
    board->save_code = 0x1105;
    start(board, &spec);
    assert_untouched(board, "failed", "cannot save the state (0x1105)");
    assert_int_equal(board->flash[1][0], 0xFF);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(updates_and_clears),
        CASE(repeats_until_cleared),
        CASE(absent_offer_counts_as_cleared),
        CASE(replayed_offer_changes_nothing),
        CASE(renumbered_server_is_believed),
        CASE(an_offer_from_the_future_does_not_bar_later_ones),
        CASE(already_running_is_confirmed_at_once),
        CASE(tampered_manifest),
        CASE(unknown_manifest_key),
        CASE(foreign_device),
        CASE(wrong_chip),
        CASE(expired),
        CASE(renewed_after_expiry),
        CASE(stolen_manifest_key),
        CASE(rollback_needs_a_release_too),
        CASE(too_large),
        CASE(plain_http_only_where_allowed),
        CASE(malformed_is_only_logged),
        CASE(without_release),
        CASE(malformed_but_signed),
        CASE(malformed_and_not_certainly_ours),
        CASE(an_older_offer_is_answered_once_all_is_told),
        CASE(bad_offers_do_not_disturb_an_update),
        CASE(clear_cancels),
        CASE(a_newer_offer_replaces_the_older),
        CASE(rollback_boots_the_other_slot),
        CASE(jitter_is_bounded_and_steady),
        CASE(unset_clock),
        CASE(an_attempt_that_ends_in_nothing_is_given_up),
        CASE(the_new_image_need_not_like_its_offer),
        CASE(secure_version_is_the_boot_loaders_word),
        CASE(a_state_that_cannot_be_saved_stops_the_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
