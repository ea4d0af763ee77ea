/* Tokens are forged here by hand with libsodium, apart from jwt.c; the forger itself is held to RFC 7515. */
#include "../scratch.h"
#include "fleet/jwt.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW 1790000000
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define SID "\"0b5c1f6e-58a1-4b52-9d0e-3f7d5a1c2b3d\""
#define TIMES ",\"iat\":1789999990,\"exp\":1790000890"
#define FULL(iss, aud, sub, role, sid, jti, times)                                                           \
    "{\"iss\":" iss ",\"aud\":" aud ",\"sub\":" sub ",\"role\":" role ",\"sid\":" sid ",\"jti\":" jti times  \
    "}"
#define ISS(iss) FULL(iss, "\"fleet\"", "\"7\"", "\"user\"", SID, "\"j-1_Z\"", TIMES)
#define AUD(aud) FULL("\"otad\"", aud, "\"7\"", "\"user\"", SID, "\"j-1_Z\"", TIMES)
#define SUB(sub) FULL("\"otad\"", "\"fleet\"", sub, "\"user\"", SID, "\"j-1_Z\"", TIMES)
#define ROLE(role) FULL("\"otad\"", "\"fleet\"", "\"7\"", role, SID, "\"j-1_Z\"", TIMES)
#define SESSION(sid) FULL("\"otad\"", "\"fleet\"", "\"7\"", "\"user\"", sid, "\"j-1_Z\"", TIMES)
#define JTI(jti) FULL("\"otad\"", "\"fleet\"", "\"7\"", "\"user\"", SID, jti, TIMES)
#define CLAIMS(times) FULL("\"otad\"", "\"fleet\"", "\"7\"", "\"user\"", SID, "\"j-1_Z\"", times)
#define GOOD CLAIMS(TIMES)

struct row {
    const char *json; /* in headers, %s is the kid */
    enum jwt_error error;
};

static const uint8_t key_bytes[32] = "0123456789abcdef0123456789abcde\n";
static const uint8_t old_bytes[40] = "an older key that still verifies tokens";
static char kid[9], old_kid[9], header[64];
static struct jwt_keys *keys;

/* Appends the MAC over all that stands in `token`. */
static void seal(const void *key, size_t key_len, char *token)
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[32];
    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, (uint8_t *)token, strlen(token));
    crypto_auth_hmacsha256_final(&state, mac);
    strcat(token, ".");
    sodium_bin2base64(token + strlen(token), 44, mac, 32, VARIANT);
}

static void encode(const char *text, char *out, size_t size)
{
    sodium_bin2base64(out, size, (const uint8_t *)text, strlen(text), VARIANT);
}

static void forge(const void *key, size_t key_len, const char *head, const char *claims, char *out,
                  size_t size)
{
    encode(head, out, size);
    strcat(out, ".");
    encode(claims, out + strlen(out), size - strlen(out));
    seal(key, key_len, out);
}

static enum jwt_error verify(const char *token)
{
    struct jwt_claims claims;
    return jwt_verify(keys, token, strlen(token), "otad", "fleet", NOW, &claims);
}

static enum jwt_error forged(const char *head, const char *claims)
{
    char token[16384];
    forge(key_bytes, sizeof(key_bytes), head, claims, token, sizeof(token) - 64);
    return verify(token);
}

/* Parts given as they stand in the token: sealed rightly, only spelled otherwise. */
static enum jwt_error respelled(const char *head, const char *claims)
{
    char token[4096];
    snprintf(token, sizeof(token) - 64, "%s.%s", head, claims);
    seal(key_bytes, sizeof(key_bytes), token);
    return verify(token);
}

static void make_kid(const uint8_t *bytes, size_t len, char out[9])
{
    uint8_t digest[32];
    crypto_hash_sha256(digest, bytes, len);
    sodium_bin2hex(out, 9, digest, 4);
}

static int setup(void **state)
{
    char list[1024], *error = NULL;
    scratch_setup(state);
    make_kid(key_bytes, sizeof(key_bytes), kid);
    make_kid(old_bytes, sizeof(old_bytes), old_kid);
    snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", kid);
    strcpy(list, scratch_write(*state, "jwt.key", key_bytes, sizeof(key_bytes), 0600));
    strcat(list, ", ");
    strcat(list, scratch_write(*state, "old.key", old_bytes, sizeof(old_bytes), 0400));
    keys = jwt_keys_load(list, &error);
    return keys == NULL;
}

static int teardown(void **state)
{
    jwt_keys_free(keys);
    return scratch_teardown(state);
}

/* RFC 7515, appendix A.1 */
static void test_rfc7515(void **state)
{
    static const char rfc_key[] =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    static const char expected[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    uint8_t bytes[64];
    char token[1024];
    assert_int_equal(sodium_base642bin(bytes, 64, rfc_key, strlen(rfc_key), NULL, NULL, NULL, VARIANT), 0);
    forge(bytes, 64, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
          "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}", token, 900);
    assert_string_equal(token, expected);
    assert_int_equal(verify(token), JWT_UNKNOWN_KEY); /* it names no key */
}

static void test_round_trip(void **state)
{
    struct jwt_claims in = {.sub = INT64_MAX, .role = JWT_OPERATOR, .jti = "x", .iat = NOW, .exp = NOW + 900},
                      out;
    struct jwt_claims same = {
        .sub = 7, .role = JWT_USER, .jti = "j-1_Z", .iat = 1789999990, .exp = 1790000890};
    char token[1024], again[1024];
    memcpy(in.sid, SID + 1, 36);
    memcpy(same.sid, SID + 1, 36);
    memset(&out, 0xAA, sizeof(out));
    size_t len = jwt_sign(keys, &in, "otad", "fleet", token, sizeof(token));
    assert_int_equal(len, strlen(token));
    assert_int_equal(jwt_verify(keys, token, len, "otad", "fleet", NOW, &out), JWT_OK);
    assert_true(out.sub == INT64_MAX);
    assert_int_equal(out.role, JWT_OPERATOR);
    assert_string_equal(out.sid, in.sid);
    assert_string_equal(out.jti, "x");
    assert_int_equal(out.iat, NOW);
    assert_int_equal(out.exp, NOW + 900);
    assert_string_equal(jwt_keys_signing_id(keys), kid);

    assert_int_not_equal(jwt_sign(keys, &same, "otad", "fleet", token, sizeof(token)), 0);
    forge(key_bytes, sizeof(key_bytes), header, GOOD, again, 900);
    assert_string_equal(token, again);
}

static void test_sign_bounds(void **state)
{
    struct jwt_claims good = {.sub = 7, .jti = "j", .iat = NOW, .exp = NOW + 1}, claims, out;
    char token[1024], text[130];
    memcpy(good.sid, SID + 1, 36);
    size_t len = jwt_sign(keys, &good, "otad", "fleet", token, sizeof(token));
    assert_int_equal(jwt_sign(keys, &good, "otad", "fleet", token, len + 1), len);
    assert_int_equal(jwt_sign(keys, &good, "otad", "fleet", token, len), 0);
    assert_int_equal(jwt_sign(keys, &good, "ot\"ad", "fleet", token, sizeof(token)), 0);
    assert_int_equal(jwt_sign(keys, &good, "otad", "", token, sizeof(token)), 0);
    claims = good;
    claims.sub = 0;
    assert_int_equal(jwt_sign(keys, &claims, "otad", "fleet", token, sizeof(token)), 0);
    claims = good;
    claims.exp = claims.iat;
    assert_int_equal(jwt_sign(keys, &claims, "otad", "fleet", token, sizeof(token)), 0);
    claims = good;
    claims.sid[0] = 'B';
    assert_int_equal(jwt_sign(keys, &claims, "otad", "fleet", token, sizeof(token)), 0);
    claims = good;
    claims.jti[0] = '"';
    assert_int_equal(jwt_sign(keys, &claims, "otad", "fleet", token, sizeof(token)), 0);

    claims = good; /* the largest there is fits in what the header promises, and verifies */
    claims.sub = INT64_MAX;
    memset(claims.jti, 'j', 64);
    claims.exp = INT64_C(999999999999999);
    claims.role = JWT_OPERATOR;
    memset(text, 'i', 128);
    text[128] = '\0';
    len = jwt_sign(keys, &claims, text, text, token, sizeof(token));
    assert_int_not_equal(len, 0);
    assert_int_equal(jwt_verify(keys, token, len, text, text, NOW, &out), JWT_OK);
    text[128] = 'i';
    text[129] = '\0';
    assert_false(jwt_text_valid(text));
}

static void test_other_spellings(void **state)
{
    char head[128];
    assert_int_equal(forged(header, GOOD), JWT_OK);
    snprintf(head, sizeof(head), " { \"kid\" : \"%s\" ,\n\t\"alg\": \"HS256\" } ", kid);
    assert_int_equal(forged(head, " " CLAIMS(", \"nbf\" : 0 ,\r\n\"exp\":1790000001, \"iat\": 5") "\n"),
                     JWT_OK);
}

static void test_rotation(void **state)
{
    char head[64], token[1024];
    snprintf(head, sizeof(head), "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", old_kid);
    forge(old_bytes, sizeof(old_bytes), head, GOOD, token, 900);
    assert_int_equal(verify(token), JWT_OK);
    assert_int_equal(forged(head, GOOD), JWT_SIGNATURE); /* the new key under the old key's name */
}

static void test_headers_refused(void **state)
{
    static const struct row rows[] = {
        {"{\"alg\":\"none\",\"typ\":\"JWT\"}", JWT_ALGORITHM},
        {"{\"alg\":\"none\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"None\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"HS512\",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"HS384\",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"hs256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"HS256 \",\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"typ\":\"JWT\",\"kid\":\"%s\"}", JWT_ALGORITHM},
        {"{\"alg\":\"HS256\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"00000000\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"%s0\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", JWT_UNKNOWN_KEY},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"crit\":[\"exp\"]}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"crit\":\"exp\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"jku\":\"https://evil.example/k\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"x5u\":\"https://evil.example/c\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"x5c\":[]}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"b64\":false}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"zip\":\"DEF\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"cty\":\"JWT\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"refresh\"}", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"alg\":\"none\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"alg\":\"none\",\"alg\":\"HS256\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"kid\":\"%s\",\"alg\":\"HS256\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"\\u0061lg\":\"HS256\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"alg\":\"HS\\u003256\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"alg\":256,\"kid\":\"%s\"}", JWT_HEADER},
        {"{\"alg\":null,\"kid\":\"%s\"}", JWT_HEADER},
        {"[\"HS256\",\"%s\"]", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\"} x", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\"", JWT_HEADER},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",}", JWT_HEADER},
        {"{\"alg\":\"HS256\" \"kid\":\"%s\"}", JWT_HEADER},
        {"{\"alg\" \"HS256\",\"kid\":\"%s\"}", JWT_HEADER},
        {"{}", JWT_HEADER},
        {"{", JWT_HEADER},
        {"", JWT_HEADER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char head[256] = "";
        const char *from = rows[i].json, *at;
        for (; (at = strstr(from, "%s")) != NULL; from = at + 2) {
            strncat(head, from, (size_t)(at - from));
            strcat(head, kid);
        }
        strcat(head, from);
        if (forged(head, GOOD) != rows[i].error)
            fail_msg("%s: %s", head, jwt_error_text(forged(head, GOOD)));
    }
}

static void check_claims(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (forged(header, rows[i].json) != rows[i].error)
            fail_msg("%s: %s", rows[i].json, jwt_error_text(forged(header, rows[i].json)));
}

static void test_times(void **state)
{
    static const struct row rows[] = {
        {CLAIMS(",\"iat\":1,\"exp\":1790000001"), JWT_OK},
        {CLAIMS(",\"iat\":1,\"exp\":1790000000"), JWT_EXPIRED},
        {CLAIMS(",\"iat\":0,\"exp\":0"), JWT_EXPIRED},
        {CLAIMS(",\"iat\":1790000060,\"exp\":1790000900"), JWT_OK},
        {CLAIMS(",\"iat\":1790000061,\"exp\":1790000900"), JWT_NOT_YET},
        {CLAIMS(TIMES ",\"nbf\":1790000060"), JWT_OK},
        {CLAIMS(TIMES ",\"nbf\":1790000061"), JWT_NOT_YET},
        {CLAIMS(",\"iat\":1,\"exp\":1e300"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":9999999999999999999999"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":1790000890.5"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":-1"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":01790000890"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":\"1790000890\""), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":null"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1,\"exp\":"), JWT_CLAIMS},
        {CLAIMS(",\"iat\":1"), JWT_CLAIMS},
        {CLAIMS(",\"exp\":1790000890"), JWT_CLAIMS},
    };
    check_claims(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_claims_refused(void **state)
{
    static const struct row rows[] = {
        /* from whom and for whom */
        {ISS("\"otad\""), JWT_OK},
        {ISS("\"other\""), JWT_ISSUER},
        {ISS("\"ota\""), JWT_ISSUER},
        {ISS("\"otad2\""), JWT_ISSUER},
        {ISS("\"\""), JWT_ISSUER},
        {ISS("null"), JWT_CLAIMS},
        {AUD("\"other\""), JWT_AUDIENCE},
        {AUD("\"Fleet\""), JWT_AUDIENCE},
        {AUD("[\"fleet\"]"), JWT_CLAIMS},
        /* who */
        {SUB("\"9223372036854775807\""), JWT_OK},
        {SUB("\"9223372036854775808\""), JWT_CLAIMS},
        {SUB("\"18446744073709551617\""), JWT_CLAIMS},
        {SUB("7"), JWT_CLAIMS},
        {SUB("\"\""), JWT_CLAIMS},
        {SUB("\"0\""), JWT_CLAIMS},
        {SUB("\"07\""), JWT_CLAIMS},
        {SUB("\"-7\""), JWT_CLAIMS},
        {SUB("\"7 \""), JWT_CLAIMS},
        {SUB("\"7e1\""), JWT_CLAIMS},
        {ROLE("\"operator\""), JWT_OK},
        {ROLE("\"admin\""), JWT_CLAIMS},
        {ROLE("\"Operator\""), JWT_CLAIMS},
        {ROLE("\"\""), JWT_CLAIMS},
        {ROLE("1"), JWT_CLAIMS},
        {SESSION("\"0b5c1f6e-58a1-4b52-9d0e-3f7d5a1c2b3\""), JWT_CLAIMS},
        {SESSION("\"0B5C1F6E-58A1-4B52-9D0E-3F7D5A1C2B3D\""), JWT_CLAIMS},
        {SESSION("\"0b5c1f6e058a1-4b52-9d0e-3f7d5a1c2b3d\""), JWT_CLAIMS},
        {SESSION("\"0b5c1f6e-58a1-4b52-9d0e-3f7d5a1c2b'd\""), JWT_CLAIMS},
        {JTI("\"0123456789012345678901234567890123456789012345678901234567890123\""), JWT_OK},
        {JTI("\"01234567890123456789012345678901234567890123456789012345678901234\""), JWT_CLAIMS},
        {JTI("\"\""), JWT_CLAIMS},
        {JTI("\"a b\""), JWT_CLAIMS},
        /* form */
        {CLAIMS(TIMES ",\"role\":\"operator\""), JWT_CLAIMS},
        {CLAIMS(TIMES ",\"exp\":1790000890"), JWT_CLAIMS},
        {CLAIMS(TIMES ",\"nbf\":0,\"nbf\":0"), JWT_CLAIMS},
        {CLAIMS(TIMES ",\"use\":\"refresh\""), JWT_CLAIMS},
        {CLAIMS(TIMES ",\"\":1"), JWT_CLAIMS},
        {GOOD "x", JWT_CLAIMS},
        {GOOD GOOD, JWT_CLAIMS},
        {"[" GOOD "]", JWT_CLAIMS},
        {"", JWT_CLAIMS},
        {"{}", JWT_CLAIMS},
        {"\"\"", JWT_CLAIMS},
        {ISS("\"ot\\u0061d\""), JWT_CLAIMS},
        {ISS("\"otad\x01\""), JWT_CLAIMS},
        {ISS("\"ot\xc3\xa4\x64\""), JWT_CLAIMS},
        /* one missing */
        {"{\"aud\":\"fleet\",\"sub\":\"7\",\"role\":\"user\",\"sid\":" SID ",\"jti\":\"j\"" TIMES "}",
         JWT_CLAIMS},
        {"{\"iss\":\"otad\",\"sub\":\"7\",\"role\":\"user\",\"sid\":" SID ",\"jti\":\"j\"" TIMES "}",
         JWT_CLAIMS},
        {"{\"iss\":\"otad\",\"aud\":\"fleet\",\"role\":\"user\",\"sid\":" SID ",\"jti\":\"j\"" TIMES "}",
         JWT_CLAIMS},
        {"{\"iss\":\"otad\",\"aud\":\"fleet\",\"sub\":\"7\",\"sid\":" SID ",\"jti\":\"j\"" TIMES "}",
         JWT_CLAIMS},
        {"{\"iss\":\"otad\",\"aud\":\"fleet\",\"sub\":\"7\",\"role\":\"user\",\"jti\":\"j\"" TIMES "}",
         JWT_CLAIMS},
        {"{\"iss\":\"otad\",\"aud\":\"fleet\",\"sub\":\"7\",\"role\":\"user\",\"sid\":" SID TIMES "}",
         JWT_CLAIMS},
    };
    check_claims(rows, sizeof(rows) / sizeof(rows[0]));
}

/* Every other character at every place, every cut, and what may be hung on. */
static void test_altered(void **state)
{
    static const char *const tails[] = {"=", "A", ".", "\n", " ", ".AAAA", "%00"};
    char token[1024], altered[1100];
    struct jwt_claims out;
    forge(key_bytes, sizeof(key_bytes), header, GOOD, token, 900);
    size_t len = strlen(token);
    assert_int_equal(verify(token), JWT_OK);
    for (size_t i = 0; i < len; i++) {
        assert_int_not_equal(jwt_verify(keys, token, i, "otad", "fleet", NOW, &out), JWT_OK);
        memcpy(altered, token, len + 1);
        for (unsigned c = 1; c < 256; c++) {
            altered[i] = (char)c;
            if (altered[i] != token[i])
                assert_int_not_equal(verify(altered), JWT_OK);
        }
    }
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(altered, sizeof(altered), "%s%s", token, tails[i]);
        assert_int_equal(verify(altered), JWT_SIGNATURE);
    }
    memcpy(altered, token, len + 1);
    assert_int_equal(jwt_verify(keys, altered, len + 1, "otad", "fleet", NOW, &out),
                     JWT_SIGNATURE); /* the NUL */
    strrchr(altered, '.')[1] = '\0';
    assert_int_equal(verify(altered), JWT_SIGNATURE);
    *strrchr(altered, '.') = '\0';
    assert_int_equal(verify(altered), JWT_MALFORMED);
    assert_int_equal(verify(""), JWT_MALFORMED);
    assert_int_equal(verify("."), JWT_MALFORMED);
    assert_int_equal(verify(".."), JWT_HEADER);
}

static void test_base64url(void **state)
{
    static const char *const spaces[] = {"", " ", "  "}; /* so that each remainder of 3 occurs */
    char head[256], claims[512], text[512];
    encode(header, head, sizeof(head));
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "%s%s", GOOD, spaces[i]);
        encode(text, claims, sizeof(claims));
        size_t len = strlen(claims);
        assert_int_equal(respelled(head, claims), JWT_OK);
        strcat(claims, len % 4 == 2 ? "==" : "=");
        assert_int_equal(respelled(head, claims), JWT_MALFORMED);
        claims[len] = '\0';
        if (len % 4 != 0) { /* the unused bits of the last character */
            claims[len - 1]++;
            assert_int_equal(respelled(head, claims), JWT_MALFORMED);
            claims[len - 1]--;
        }
        for (const char *c = "+/\n =\xff"; *c != '\0'; c++) {
            char right = claims[len / 2];
            claims[len / 2] = *c;
            assert_int_equal(respelled(head, claims), JWT_MALFORMED);
            claims[len / 2] = right;
        }
        claims[len / 4 * 4 - 3] = '\0';
        assert_int_equal(respelled(head, claims), JWT_MALFORMED);
    }
    encode(GOOD, claims, sizeof(claims));
    assert_int_equal(strlen(head) % 4, 3);
    strcat(head, "=");
    assert_int_equal(respelled(head, claims), JWT_MALFORMED);
    head[strlen(head) - 1] = '\0';
    head[strlen(head) - 1]++;
    assert_int_equal(respelled(head, claims), JWT_MALFORMED);
}

static void test_length(void **state)
{
    char claims[8000], token[16384], big[8192];
    struct jwt_claims out;
    size_t longest = 0;
    for (size_t spaces = 2500; spaces <= 2900; spaces++) {
        snprintf(claims, sizeof(claims), "%s%*s", GOOD, (int)spaces, "");
        forge(key_bytes, sizeof(key_bytes), header, claims, token, sizeof(token) - 64);
        size_t len = strlen(token);
        assert_int_equal(verify(token), len > JWT_MAX_LEN ? JWT_TOO_LONG : JWT_OK);
        longest = len > longest ? len : longest;
    }
    assert_true(longest > JWT_MAX_LEN);
    memset(big, 'A', sizeof(big));
    assert_int_equal(jwt_verify(keys, big, sizeof(big), "otad", "fleet", NOW, &out), JWT_TOO_LONG);
    snprintf(claims, sizeof(claims), "{\"alg\":\"HS256\",%*s\"kid\":\"%s\"}", 2600, "", kid);
    assert_int_equal(forged(claims, GOOD), JWT_OK); /* a long header within the limit */
}

static void refuse_keys(const char *files, const char *why)
{
    char *error = NULL;
    assert_null(jwt_keys_load(files, &error));
    assert_non_null(error);
    if (strstr(error, why) == NULL)
        fail_msg("%s", error);
    free(error);
}

static void test_keys_refused(void **state)
{
    char first[512], list[4096];
    refuse_keys("", "auth.jwt_keys");
    refuse_keys(" , ", "auth.jwt_keys");
    refuse_keys(scratch_path(*state, "none.key"), "No such file");
    refuse_keys(scratch_write(*state, "short.key", key_bytes, 31, 0600), "31 bytes");
    refuse_keys(scratch_write(*state, "empty.key", "", 0, 0600), "0 bytes");
    refuse_keys(scratch_write(*state, "open.key", old_bytes, 32, 0640), "chmod 600");
    strcpy(first, scratch_path(*state, "jwt.key"));
    snprintf(list, sizeof(list), "%s,%s", first, scratch_write(*state, "copy.key", key_bytes, 32, 0600));
    refuse_keys(list, "listed twice");
    snprintf(list, sizeof(list), "%s,%s", first, scratch_path(*state, "open.key")); /* the second one too */
    refuse_keys(list, "open.key");
    list[0] = '\0';
    for (uint8_t i = 0; i < 17; i++) {
        char name[16];
        uint8_t bytes[32] = {i};
        snprintf(name, sizeof(name), "%u.key", i);
        strcat(strcat(list, scratch_write(*state, name, bytes, 32, 0600)), ",");
    }
    refuse_keys(list, "more than 16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7515),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_sign_bounds), cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_rotation),    cmocka_unit_test(test_headers_refused),
        cmocka_unit_test(test_times),       cmocka_unit_test(test_claims_refused),
        cmocka_unit_test(test_altered),     cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_length),      cmocka_unit_test(test_keys_refused),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, setup, teardown);
}
