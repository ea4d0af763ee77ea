/* Numbers and times as people read them. */
#pragma once
#include <stddef.h>

enum { WORDS = 48 };

const char *words_count(char out[WORDS], long long count);  /* 12,345 */
const char *words_span(char out[WORDS], long long seconds); /* 2 h 5 min */
const char *words_share(char out[WORDS], double share);     /* 12.3 % */
