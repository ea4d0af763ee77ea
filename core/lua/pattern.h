/* How long a match of Lua's patterns may take. The matcher of string.find and its kin backtracks, and never
 * returns to where a deadline could stop it; what follows is an upper bound, found without matching. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { PATTERN_LONGEST = 512 }; /* bytes of a pattern; what a longer one costs is not asked */

/* Whether matching `pattern` takes at most `most` steps, but for a small factor, over a text of `len` bytes:
 * all of a gsub or a gmatch, or one find. `anchors`: a ^ in front means the beginning of the text (everywhere
 * but in gmatch). Any thread. */
bool pattern_bounded(const char *pattern, size_t pattern_len, size_t len, bool anchors, double most);
