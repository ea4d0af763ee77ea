/* What the functions of a policy hold on to, put back before each call as the file left it: no call sees what
 * another did, and the file need not run again for each.
 *
 * Functions hold values by upvalues. Numbers, texts and functions without state are put back as they are,
 * tables are made anew each time with all that is in them. What cannot be put back (an iterator that counts,
 * a table as a key), or is more than is cheap, is refused: the file of such a policy runs for each call.
 *
 * Belongs to one state, like everything in policy/policy. */
#pragma once
#include <lua.h>
#include <stdbool.h>

struct pristine;

struct pristine *pristine_new(void);
void pristine_free(struct pristine *pristine);

/* Takes in what the functions among the `count` values on top of the stack hold (other values are passed
 * over), and leaves the stack as it was. `key` is where the registry keeps what is put back as it is. False:
 * refused. Protected call only. */
bool pristine_take(struct pristine *pristine, lua_State *L, int count, const void *key);

/* Puts all of it back. Protected call only. */
void pristine_restore(const struct pristine *pristine, lua_State *L, const void *key);
