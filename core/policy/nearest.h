/* "did you mean ...?": the known name nearest to a mistyped one. Any thread. */
#pragma once

/* NULL: none is near. `names` ends with NULL; of equally near ones the first. */
const char *nearest_name(const char *word, const char *const *names);
