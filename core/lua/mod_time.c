/* now(), time.rfc3339(seconds), time.parse(text) */
#include "lua/modules.h"
#include "net/timer.h"
#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const lua_Number FIRST = -30610224000, LAST = 253402300799; /* years 1000 to 9999 */

static int now(lua_State *L)
{
    lua_pushnumber(L, clock_unix());
    return 1;
}

static int rfc3339(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    char text[40];
    struct tm utc;
    luaL_argcheck(L, seconds >= FIRST && seconds < LAST, 1, "out of range");
    lua_Integer millis = llround(seconds * 1000), part = (millis % 1000 + 1000) % 1000;
    time_t whole = (time_t)((millis - part) / 1000);
    gmtime_r(&whole, &utc);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    if (part != 0)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03d", (int)part);
    text[n++] = 'Z';
    lua_pushlstring(L, text, n);
    return 1;
}

/* As many digits as there are in `form` ('0'), which else must match; returns what follows, or NULL. */
static const char *match(const char *text, const char *form, int *numbers)
{
    for (*numbers = 0; *form != '\0'; form++, text++) {
        bool digit = *text >= '0' && *text <= '9';
        if (*form == '0' ? !digit : *form != *text && *form != tolower((unsigned char)*text))
            return NULL;
        if (digit)
            *numbers = *numbers * 10 + (*text - '0');
        else if (form[1] != '\0')
            *++numbers = 0;
    }
    return text;
}

/* RFC 3339; nil for anything else. */
static int parse(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1), *rest;
    int at[6], zone[2] = {0, 0};
    double fraction = 0, scale = 0.1, sign = 1;
    if ((rest = match(text, "0000-00-00t00:00:00", at)) == NULL)
        return 0;
    if (*rest == '.') {
        if (rest[1] < '0' || rest[1] > '9')
            return 0;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            fraction += (*rest - '0') * scale;
    }
    if (*rest == '+' || *rest == '-') {
        sign = *rest == '-' ? -1 : 1;
        rest = match(rest + 1, "00:00", zone);
    } else {
        rest = *rest == 'Z' || *rest == 'z' ? rest + 1 : NULL;
    }
    if (rest == NULL || *rest != '\0' || zone[0] > 23 || zone[1] > 59 || at[3] > 23 || at[4] > 59 ||
        at[5] > 60)
        return 0;
    struct tm tm = {.tm_year = at[0] - 1900, .tm_mon = at[1] - 1, .tm_mday = at[2]}, same = tm;
    time_t day = timegm(&same);
    if (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday) /* there is no such day */
        return 0;
    lua_pushnumber(L, (lua_Number)day + at[3] * 3600 + at[4] * 60 + at[5] + fraction -
                          sign * (zone[0] * 3600 + zone[1] * 60));
    return 1;
}

void mod_time_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"rfc3339", rfc3339}, {"parse", parse}, {NULL, NULL}};
    lua_register(L, "now", now);
    luaL_newlib(L, functions);
    lua_setglobal(L, "time");
}
