/* Where in a policy's source a field of its declaration is written: a problem found in the table that the
 * file returned is shown with that line. Reads tokens, not grammar; what helpers compute has no line of its
 * own. */
#pragma once
#include <stddef.h>

/* `path` is "stages.2.soak". The line of the field, else of what encloses it, else of the last `return`
 * outside of functions; 0: not even that. */
int lines_find(const char *source, size_t len, const char *path);
