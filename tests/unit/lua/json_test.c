#include "lab.h"
#include "lua/json.h"
#include <jansson.h>

static void load(void **state)
{
    lab_load_fine(*state);
}

static void round_trip(struct lab *lab, const char *json, const char *expected)
{
    char code[2048];
    snprintf(code, sizeof(code), "return json.encode((json.decode([==[%s]==])))", json);
    lab_expect(lab, code, expected);
}

static void test_round_trips(void **state)
{
    static const char *const same[] = {"null",
                                       "true",
                                       "false",
                                       "0",
                                       "-1",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "9007199254740993",
                                       "0.1",
                                       "-2.5e-08",
                                       "1e+300",
                                       "2.5e-300",
                                       "1.7976931348623157e+308",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[],{},[[]]]",
                                       "[1,null,3]",
                                       "[null]",
                                       "{\"a\":[]}",
                                       "{\"a\":{}}",
                                       "{\"\":1}",
                                       "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"",
                                       "\"\\\"\\\\\\n\""};
    load(state);
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        round_trip(*state, same[i], same[i]);
    round_trip(*state, " [ 1 , 2 ] ", "[1,2]");
    round_trip(*state, "\"\\u00e9\\ud83d\\ude00\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80/\"");
    round_trip(*state, "1.0", "1");
    round_trip(*state, "-0", "0");
    round_trip(*state, "-0.0", "0");
    round_trip(*state, "1E2", "100");
}

static void test_types(void **state)
{
    load(state);
    lab_expect(*state, "return math.type(json.decode('3'))", "integer");
    lab_expect(*state, "return math.type(json.decode('3.0'))", "float");
    /* Those beyond 64 bits were no JSON. What stands in strings, and beside them, stays as it is. */
    lab_expect(*state, "return json.decode('9223372036854775808') == 2.0 ^ 63", "true");
    lab_expect(*state,
               "local v = "
               "json.decode([=[[-9223372036854775809,7,\"a\\\\\\\"12345678901234567890\",9e3,{"
               "\"12345678901234567890\":1}]]=]) "
               "return math.type(v[1]) .. math.type(v[2]) .. v[3] .. v[4] .. v[5]['12345678901234567890']",
               "floatintegera\\\"123456789012345678909000.01");
    lab_expect(*state, "return json.decode('{\"a\":null}').a == json.null", "true");
    lab_expect(*state, "return json.encode({ a = json.null })", "{\"a\":null}");
    lab_expect(*state, "return json.is_array(json.decode('[]'))", "true");
    lab_expect(*state, "return json.is_array(json.decode('{}'))", "false");
    lab_expect(*state, "return json.encode(json.array({}))", "[]");
    lab_expect(*state, "return json.encode({})", "{}");
    lab_expect(*state, "return json.encode({ 1, 2 })", "[1,2]");
    lab_expect(*state, "return json.encode(math.mininteger)", "-9223372036854775808");
    lab_expect(*state, "return json.encode('\\0\\1\\127')", "\"\\u0000\\u0001\\u007f\"");
    lab_expect(*state, "return json.encode('\\xff')", "\"\\ufffd\"");
    for (int i = 0; i < 3000; i++) { /* doubles keep their value */
        double value = 0;
        char code[160];
        for (size_t j = 0; j < sizeof(value); j++)
            ((unsigned char *)&value)[j] = (unsigned char)rand();
        if (value != value || value - value != 0)
            continue;
        snprintf(code, sizeof(code), "local x = %a return json.decode(json.encode(x)) == x", value);
        lab_expect(*state, code, "true");
    }
}

static void refuse(struct lab *lab, const char *text, size_t len)
{
    char code[256], *at = code;
    at += sprintf(at, "local v, message = json.decode('");
    for (size_t i = 0; i < len; i++)
        at += sprintf(at, "\\x%02x", (unsigned char)text[i]);
    strcpy(at, "') return v == nil and type(message) == 'string' and #message > 5");
    if (strcmp(lab_run(lab, code), "true") != 0)
        fail_msg("%.*s: %s", (int)len, text, lab->result);
}

static void test_refusals(void **state)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "[",
                                        "[1,",
                                        "[1",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":1",
                                        "{\"a\":1,",
                                        "\"",
                                        "\"a",
                                        "tru",
                                        "nul",
                                        "[1]]",
                                        "{} {}",
                                        "1 2",
                                        "[1,]",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "'a'",
                                        "// c\n1",
                                        "01",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "-",
                                        "1e",
                                        "0x10",
                                        "NaN",
                                        "nan",
                                        "Infinity",
                                        "-Infinity",
                                        "1e999",
                                        "-1e999",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":1,\"\\u0061\":2}",
                                        "\"\\u0000\"",
                                        "{\"\\u0000\":1}",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "\"\\ud800\\u0041\"",
                                        "\"\\udc00\\ud800\"",
                                        "\"\\u12\"",
                                        "\"\\x41\"",
                                        "\"\n\"",
                                        "\"\x01\"",
                                        "\"\xff\"",
                                        "\"\xc3\"",
                                        "\"\xc0\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\xef\xbb\xbf{}"};
    load(state);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refuse(*state, texts[i], strlen(texts[i]));
    refuse(*state, "\"a\0b\"", 5);
    refuse(*state, "1\0", 2); /* taken: jansson takes back the byte behind a number as if it were the end */
    refuse(*state, "[1\0,2]", 6);
    refuse(*state, "{}\0", 3);
}

static void test_depth(void **state)
{
    load(state);
    lab_expect(*state, "return #json.encode(json.decode(('['):rep(64) .. (']'):rep(64)))", "128");
    static const int depths[] = {65, 1000, 10000, 100000};
    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
        char code[200];
        snprintf(code, sizeof(code), "local _, m = json.decode(('['):rep(%d) .. (']'):rep(%d)) return m",
                 depths[i], depths[i]);
        lab_expect(*state, code, "nested deeper than 64");
        snprintf(code, sizeof(code), "local _, m = json.decode(('{\"a\":'):rep(%d)) return m", depths[i]);
        lab_expect(*state, code, "nested deeper than 64");
    }
    lab_expect(*state, "return json.decode('\"' .. ('['):rep(100) .. '\"') == ('['):rep(100)", "true");
    lab_expect_error(*state, "local t = {} t.t = t return json.encode(t)", "too deeply");
}

/* With two branches each level the end came after 2^64 of them: the worker hung and grew. */
static void test_branching_cycles_end(void **state)
{
    load(state);
    lab_expect_error(*state, "local t = {} t[1] = t t[2] = t t[3] = 'text' return json.encode(t)", "JSON");
}

/* Messages go into answers and logs: they say where, and quote nothing. */
static void test_messages_do_not_quote(void **state)
{
    load(state);
    lab_expect(*state,
               "local _, m = json.decode('{\"password\": secret}') return m:find('secret') == nil and m",
               "invalid token (line 1, column 19)");
    lab_expect(*state,
               "local _, m = json.decode('{\"secret\":1,\"secret\":2}') return m:find('secret') == nil",
               "true");
}

static void test_what_cannot_be_written(void **state)
{
    load(state);
    static const char *const values[] = {"0/0",
                                         "1/0",
                                         "-1/0",
                                         "function() end",
                                         "{ [1.5] = 1 }",
                                         "{ [true] = 1 }",
                                         "{ [{}] = 1 }",
                                         "{ x = function() end }",
                                         "{ { { math.huge } } }"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char code[128];
        snprintf(code, sizeof(code), "return json.encode(%s)", values[i]);
        lab_expect_error(*state, code, "JSON");
    }
}

/* {1, 2, x = 3} was written as [1,2]: half of it was lost. */
static void test_mixed_keys(void **state)
{
    load(state);
    lab_expect_error(*state, "return json.encode({ 1, 2, x = 3 })", "keys");
    lab_expect_error(*state, "return json.encode({ [1] = 1, [2] = 2, [0] = 3 })", "keys");
    lab_expect_error(*state, "return json.encode({ [2] = 1, x = 2 })", "keys");
    lab_expect_error(*state, "local l = json.array({ 1 }) l.next = 2 return json.encode(l)", "keys");
}

static void test_records_keep_the_order_of_their_fields(void **state)
{
    load(state);
    lab_expect(*state, "return json.encode(json.record('z', 'id', 'a') { a = 1, id = false })",
               "{\"z\":null,\"id\":false,\"a\":1}");
    lab_expect(*state, "return json.encode(json.record('id') { more = 1 })", "{\"id\":null,\"more\":1}");
    lab_expect_error(*state, "return json.record('id', nil)", "string expected");
}

/* json.array() took off the metatable that protects config. */
static void test_array_leaves_protected_tables_alone(void **state)
{
    load(state);
    lab_expect_error(*state, "return json.array(config)", "protected");
    lab_expect_error(*state, "return json.record('a')(config)", "protected");
    lab_expect(*state, "return config['workers']", "0");
    lab_expect(*state, "return json.encode(json.array(json.array({})))", "[]");
}

/* Rows, as mod_db makes them. */

static const char *const names[] = {"id", "name", "z", "a"};

static const char *column(const void *arg, int i)
{
    return names[i];
}

static int make_row(lua_State *L)
{
    lua_settop(L, 1);
    json_push_row_metatable(L, 4, column, NULL);
    lua_setmetatable(L, 1);
    return 1;
}

static int add_row(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_pushliteral(L, "row");
    lua_pushcfunction(L, make_row);
    lua_rawset(L, -3);
    return 0;
}

static void test_rows(void **state)
{
    struct lab *lab = *state;
    load(state);
    assert_true(generation_call(lab->runtime.current, add_row, NULL, "", &lab->problems));
    lab_expect(lab, "return json.encode(row { a = 1, id = 2, name = 'n', z = json.array {} })",
               "{\"id\":2,\"name\":\"n\",\"z\":[],\"a\":1}");
    lab_expect(lab, "return json.encode(row {})", "{\"id\":null,\"name\":null,\"z\":null,\"a\":null}");
    lab_expect(lab, "return json.encode(row { a = false, more = { 1 } })",
               "{\"id\":null,\"name\":null,\"z\":null,\"a\":false,\"more\":[1]}");
    lab_expect(lab, "return json.encode({ row { id = 1 }, row { a = row { z = 1 } } })",
               "[{\"id\":1,\"name\":null,\"z\":null,\"a\":null},{\"id\":null,\"name\":null,\"z\":null,\"a\":{"
               "\"id\":null,\"name\":null,\"z\":1,\"a\":null}}]");
    lab_expect(lab, "return getmetatable(row {})", "false");
    lab_expect_error(lab, "return setmetatable(row {}, nil)", "protected");
}

static void test_large(void **state)
{
    load(state);
    lab_expect(*state,
               "local l = {} for i = 1, 20000 do l[i] = { id = i } end local t = json.encode(l) local d = "
               "json.decode(t) return #d + d[20000].id",
               "40000");
    lab_expect(*state, "return #json.decode('[' .. ('1,'):rep(100000) .. '1]')", "100001");
    lab_expect(*state, "return json.decode('\"' .. ('x'):rep(500000) .. '\"') == ('x'):rep(500000)", "true");
}

/* One long text in a list a hundred thousand times: there was no memory left for anybody. */
static void test_too_large(void **state)
{
    load(state);
    lab_expect_error(*state,
                     "local s, l = ('x'):rep(500000), {} for i = 1, 200 do l[i] = s end return "
                     "#json.encode(l)",
                     "too large for JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAB_CASE(test_round_trips),
        LAB_CASE(test_types),
        LAB_CASE(test_refusals),
        LAB_CASE(test_depth),
        LAB_CASE(test_branching_cycles_end),
        LAB_CASE(test_messages_do_not_quote),
        LAB_CASE(test_what_cannot_be_written),
        LAB_CASE(test_mixed_keys),
        LAB_CASE(test_array_leaves_protected_tables_alone),
        LAB_CASE(test_records_keep_the_order_of_their_fields),
        LAB_CASE(test_rows),
        LAB_CASE(test_large),
        LAB_CASE(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
