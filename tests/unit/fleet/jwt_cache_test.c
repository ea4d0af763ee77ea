#include "fleet/jwt_cache.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the headers above first */
#include <cmocka.h>
#include <sodium.h>

static struct jwt_keys *keys;
static struct jwt_cache *cache;
static const int64_t now = 1790000000;

static int set_up(void **state)
{
    char path[] = "/tmp/jwt-cache-XXXXXX", *error = NULL;
    assert_true(sodium_init() >= 0);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "0123456789abcdef0123456789abcdef", 32), 32);
    close(fd);
    keys = jwt_keys_load(path, &error);
    assert_non_null(keys);
    unlink(path);
    cache = jwt_cache_new(keys, "otad", "otad");
    return 0;
}

static int tear_down(void **state)
{
    jwt_cache_free(cache);
    jwt_keys_free(keys);
    return 0;
}

static size_t make(int64_t sub, int64_t exp, char token[1024])
{
    struct jwt_claims claims = {.sub = sub, .role = JWT_OPERATOR, .iat = now - 10, .exp = exp};
    strcpy(claims.sid, "89176385-2dbe-4157-bd0e-e7ec25376194");
    snprintf(claims.jti, sizeof(claims.jti), "j%d", (int)sub);
    return jwt_sign(keys, &claims, "otad", "otad", token, 1024);
}

static void test_answers_alike_from_the_cache(void **state)
{
    char token[1024];
    struct jwt_claims first, second;
    size_t len = make(7, now + 900, token);
    assert_int_equal(jwt_cache_verify(cache, token, len, now, &first), JWT_OK);
    assert_int_equal(jwt_cache_verify(cache, token, len, now + 1, &second), JWT_OK);
    assert_int_equal(second.sub, 7);
    assert_int_equal(second.role, JWT_OPERATOR);
    assert_string_equal(second.sid, first.sid);
}

static void test_expires_in_the_cache(void **state)
{
    char token[1024];
    struct jwt_claims claims;
    size_t len = make(8, now + 900, token);
    assert_int_equal(jwt_cache_verify(cache, token, len, now, &claims), JWT_OK);
    assert_int_equal(jwt_cache_verify(cache, token, len, now + 899, &claims), JWT_OK);
    assert_int_equal(jwt_cache_verify(cache, token, len, now + 900, &claims), JWT_EXPIRED);
}

/* Whatever byte of a cached token is changed: refused. */
static void test_takes_no_altered_token(void **state)
{
    char token[1024];
    struct jwt_claims claims;
    size_t len = make(9, now + 900, token);
    assert_int_equal(jwt_cache_verify(cache, token, len, now, &claims), JWT_OK);
    for (size_t i = 0; i < len; i++) {
        token[i] ^= 1;
        assert_int_not_equal(jwt_cache_verify(cache, token, len, now, &claims), JWT_OK);
        token[i] ^= 1;
    }
    assert_int_not_equal(jwt_cache_verify(cache, token, len - 1, now, &claims), JWT_OK);
    assert_int_equal(jwt_cache_verify(cache, token, len, now, &claims), JWT_OK);
}

/* More tokens than slots: each is still told from the others. */
static void test_more_tokens_than_room(void **state)
{
    static char tokens[1000][1024];
    size_t lengths[1000];
    struct jwt_claims claims;
    for (int i = 0; i < 1000; i++)
        lengths[i] = make(i + 1, now + 900, tokens[i]);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(jwt_cache_verify(cache, tokens[i], lengths[i], now, &claims), JWT_OK);
            assert_int_equal(claims.sub, i + 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers_alike_from_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expires_in_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_takes_no_altered_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_tokens_than_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
