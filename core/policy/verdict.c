#include "policy/verdict.h"
#include "base/flatjson.h"
#include "policy/declare.h"
#include "policy/nearest.h"
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_AGAIN = 30 * 86400 /* seconds */, LONGEST_SHOWN = 40 /* bytes */ };

static const char *const answers[] = {"hold",  "offer", "skip",     "advance",
                                      "pause", "abort", "rollback", "default"};

const char *policy_answer_name(enum policy_answer answer)
{
    return answers[answer];
}

/* Cuts at POLICY_REASON bytes, whole characters; control characters become spaces, bad bytes U+FFFD. */
static void set_reason(struct policy_verdict *verdict, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        size_t n = flatjson_sequence(text + i, len - i), taken = n == 0 ? 1 : n;
        const char *piece = n == 0 ? "\xef\xbf\xbd" : text + i;
        if (n <= 1 && ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)) {
            piece = " ";
            n = 1;
        }
        n = n == 0 ? 3 : n;
        if (used + n > POLICY_REASON)
            break;
        memcpy(verdict->reason + used, piece, n);
        used += n;
        i += taken;
    }
    verdict->reason[used] = '\0';
}

void policy_fail(struct policy_verdict *verdict, int line, const char *reason)
{
    *verdict = (struct policy_verdict){.answer = POLICY_HOLD, .failed = true, .line = line};
    set_reason(verdict, reason, strlen(reason));
}

void verdict_set_file(struct policy_verdict *verdict, const char *file, size_t len)
{
    if (len >= sizeof(verdict->file) || !flatjson_utf8(file, len))
        len = 0; /* nobody names scripts like that */
    memcpy(verdict->file, file, len);
    verdict->file[len] = '\0';
}

void verdict_read(lua_State *L, bool is_admit, struct policy_verdict *verdict)
{
    static const char *const admit[] = {"offer", "hold", "skip", NULL};
    static const char *const advance[] = {"hold", "advance", "pause", "abort", "rollback", NULL};
    const char *name = is_admit ? "admit" : "advance", *const *allowed = is_admit ? admit : advance;
    if (lua_type(L, -3) != LUA_TSTRING)
        luaL_error(L, "%s returned %s%s where a verdict is due: %s", name, lua_isnil(L, -3) ? "" : "a ",
                   lua_isnil(L, -3) ? "nothing" : luaL_typename(L, -3),
                   is_admit ? "\"offer\", \"hold\" or \"skip\""
                            : "\"hold\", \"advance\", \"pause\", \"abort\" or \"rollback\"");
    size_t text_len;
    const char *text = lua_tolstring(L, -3, &text_len);
    const char *const *found = allowed;
    while (*found != NULL && (strlen(*found) != text_len || memcmp(*found, text, text_len) != 0))
        found++;
    if (*found == NULL) {
        char shown[LONGEST_SHOWN + 1];
        snprintf(shown, sizeof(shown), "%s", text);
        const char *near = strlen(text) == text_len ? nearest_name(shown, allowed) : NULL;
        luaL_error(L, "%s returned \"%s%s\", which is no verdict%s%s%s", name, shown,
                   text_len > strlen(shown) ? "..." : "", near == NULL ? "" : " (did you mean ",
                   near == NULL ? "" : near, near == NULL ? "" : "?)");
    }
    for (int i = 0; i < POLICY_DEFAULT; i++) {
        if (strcmp(answers[i], text) == 0)
            verdict->answer = (enum policy_answer)i;
    }
    if (!lua_isnil(L, -2)) {
        size_t len;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s returned a %s where a reason is due", name, luaL_typename(L, -2));
        const char *reason = lua_tolstring(L, -2, &len);
        set_reason(verdict, reason, len);
    }
    if (!lua_isnil(L, -1)) {
        if (!lua_istable(L, -1) || verdict->answer != POLICY_HOLD)
            luaL_error(L, "%s returned a third value: only a hold may have one, {again = \"2h\"}", name);
        lua_getfield(L, -1, "again");
        verdict->again = declare_duration(L, -1);
        if (!(verdict->again >= 1 && verdict->again <= LONGEST_AGAIN))
            luaL_error(L, "%s returned an `again` that is no duration from 1 s to 30 d", name);
    }
}
