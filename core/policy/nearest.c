#include "policy/nearest.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 40, MOST = 3 }; /* bytes; changes that make it another word */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Levenshtein's, with one row. */
static int distance(const char *a, const char *b)
{
    int row[LONGEST + 1], len = (int)strlen(b);
    for (int j = 0; j <= len; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= len; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(change, least(row[j] + 1, row[j - 1] + 1));
        }
    }
    return row[len];
}

const char *nearest_name(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t len = strlen(word);
    int bound = least(MOST, (int)(len / 2) + 1);
    if (len > LONGEST)
        return NULL;
    for (; *names != NULL; names++) {
        int far = strlen(*names) > LONGEST ? MOST : distance(word, *names);
        if (far < bound) {
            best = *names;
            bound = far;
        }
    }
    return best;
}
