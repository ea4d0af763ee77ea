/* now(), time.rfc3339(seconds), time.parse(text) */
#include "lua/modules.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int now(lua_State *L)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
    return 1;
}

static int rfc3339(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    char text[40];
    struct tm utc;
    luaL_argcheck(L, fabs(seconds) < 2e11, 1, "out of range");
    time_t whole = (time_t)floor(seconds);
    int millis = (int)((seconds - floor(seconds)) * 1000);
    gmtime_r(&whole, &utc);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    if (millis != 0)
        n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03d", millis);
    text[n++] = 'Z';
    lua_pushlstring(L, text, n);
    return 1;
}

/* RFC 3339; nil for anything else. */
static int parse(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    double fraction = 0, scale = 0.1;
    int hours = 0, minutes = 0, used = 0;
    char sign = '+';
    if (rest == NULL)
        return 0;
    if (*rest == '.') {
        if (rest[1] < '0' || rest[1] > '9')
            return 0;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            fraction += (*rest - '0') * scale;
    }
    if (strcmp(rest, "Z") != 0 && strcmp(rest, "z") != 0 &&
        (sscanf(rest, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || (sign != '+' && sign != '-') ||
         rest[used] != '\0' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59))
        return 0;
    lua_Number offset = (hours * 60 + minutes) * 60.0;
    lua_pushnumber(L, (lua_Number)timegm(&tm) + fraction - (sign == '-' ? -offset : offset));
    return 1;
}

void mod_time_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"rfc3339", rfc3339}, {"parse", parse}, {NULL, NULL}};
    lua_register(L, "now", now);
    luaL_newlib(L, functions);
    lua_setglobal(L, "time");
}
