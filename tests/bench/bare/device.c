/* A row to JSON by hand, straight from PostgreSQL's binary values: the space is reckoned first, then written
 * once, without printf or a JSON library. Pure functions, any thread. */
#include "device.h"
#include <stdint.h>
#include <string.h>

const char device_statement[] = "select id, device_code, name, chip, chip_reported, tags, status, "
                                "firmware_version, elf_sha256, last_seen, created_at, "
                                "user_id from devices where id = $1 and (user_id = $2 or $3)";

enum kind { INTEGER, TEXT, JSONB, TIME };

static const struct column {
    const char *key; /* with the punctuation before the value */
    enum kind kind;
} columns[] = {
    {"{\"id\":", INTEGER},     {",\"device_code\":", TEXT},      {",\"name\":", TEXT},
    {",\"chip\":", TEXT},      {",\"chip_reported\":", TEXT},    {",\"tags\":", JSONB},
    {",\"status\":", TEXT},    {",\"firmware_version\":", TEXT}, {",\"elf_sha256\":", TEXT},
    {",\"last_seen\":", TIME}, {",\"created_at\":", TIME},       {",\"user_id\":", INTEGER},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), NUMBER_ROOM = 32, ESCAPED = 6 };

static char *put(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}

/* Decimal, padded with zeros to `width`. */
static char *put_number(char *to, uint64_t number, int width)
{
    char digits[20];
    int n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0 || n < width);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

static char *put_string(char *to, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    *to++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20) {
            to = put(to, "\\u00", 4);
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    return to;
}

static uint64_t big_endian(const char *bytes, size_t len)
{
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++)
        number = number << 8 | (unsigned char)bytes[i];
    return number;
}

/* timestamptz: microseconds since 2000-01-01 UTC. The calendar is Howard Hinnant's civil_from_days, whose
 * years begin in March, so that the leap day comes last; years before 1 do not occur here. */
static char *put_time(char *to, int64_t microseconds)
{
    enum { DAYS_TO_2000 = 730425, ERA = 146097 }; /* days from 0000-03-01 */
    int64_t milliseconds = microseconds / 1000 + (int64_t)DAYS_TO_2000 * 86400000;
    uint64_t day = (uint64_t)(milliseconds / 86400000), in_day = (uint64_t)(milliseconds % 86400000);
    uint64_t era = day / ERA, of_era = day % ERA;
    uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t from_march = (5 * of_year + 2) / 153;
    uint64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    *to++ = '"';
    to = put_number(to, era * 400 + year_of_era + (month <= 2), 4);
    *to++ = '-';
    to = put_number(to, month, 2);
    *to++ = '-';
    to = put_number(to, of_year - (153 * from_march + 2) / 5 + 1, 2);
    *to++ = 'T';
    to = put_number(to, in_day / 3600000, 2);
    *to++ = ':';
    to = put_number(to, in_day / 60000 % 60, 2);
    *to++ = ':';
    to = put_number(to, in_day / 1000 % 60, 2);
    *to++ = '.';
    to = put_number(to, in_day % 1000, 3);
    return put(to, "Z\"", 2);
}

h2o_iovec_t device_json(h2o_mem_pool_t *pool, const PGresult *row)
{
    size_t room = 1;
    for (int i = 0; i < COLUMNS; i++)
        room += strlen(columns[i].key) + NUMBER_ROOM +
                (size_t)PQgetlength(row, 0, i) * (columns[i].kind == TEXT ? ESCAPED : 1);
    char *json = h2o_mem_alloc_pool(pool, room), *to = json;
    for (int i = 0; i < COLUMNS; i++) {
        const char *value = PQgetvalue(row, 0, i);
        size_t len = (size_t)PQgetlength(row, 0, i);
        to = put(to, columns[i].key, strlen(columns[i].key));
        if (PQgetisnull(row, 0, i))
            to = put(to, "null", 4);
        else if (columns[i].kind == INTEGER)
            to = put_number(to, big_endian(value, len), 1);
        else if (columns[i].kind == TEXT)
            to = put_string(to, value, len);
        else if (columns[i].kind == JSONB)
            to = put(to, value + 1, len - 1); /* after the format's version */
        else
            to = put_time(to, (int64_t)big_endian(value, len));
    }
    *to++ = '}';
    return h2o_iovec_init(json, (size_t)(to - json));
}
