/* What a policy's function returned, checked; policy.h has the verdict itself. */
#pragma once
#include "policy/policy.h"
#include <lua.h>

/* Of the three values on top: verdict, reason, options. Raises what is wrong with them: protected calls only.
 */
void verdict_read(lua_State *L, bool is_admit, struct policy_verdict *verdict);

void verdict_set_file(struct policy_verdict *verdict, const char *file, size_t len);
