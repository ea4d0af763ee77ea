/* What a policy declares besides its functions: checked, and with every default filled in. declare.c has the
 * table of what there is, what it means and what is taken where it is not declared.
 *
 * Durations are written as seconds or as "500ms", "30s", "15m", "2h", "7d", and come out as seconds. */
#pragma once
#include "base/buffer.h"
#include "lua/problems.h"
#include <lua.h>
#include <stdbool.h>

struct declare_source {
    const char *file, *text; /* as problems show it; to find lines in */
    size_t len;
};

/* Appends the JSON object of the declaration at `index`, and what is wrong with it to `problems`; the object
 * is complete only if nothing is. Raises where memory ends: protected calls only. */
void declare_read(lua_State *L, int index, const struct declare_source *source, struct problems *problems,
                  struct buffer *out);

/* Pushes what may be declared: a list of {name, type, text, fields?}. Protected call only. */
void declare_push_fields(lua_State *L);

/* Seconds of a duration at `index`; negative: it is none. */
double declare_duration(lua_State *L, int index);
