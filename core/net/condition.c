#include "net/condition.h"
#include <string.h>
#include <time.h>

/* `*`, or a list of tags that holds this one. Tags are found in their quotes: no other can contain it. */
static bool is_listed(h2o_iovec_t list, h2o_iovec_t tag, bool strong)
{
    const char *at = list.base, *end = list.base + list.len;
    if (list.len == 1 && *at == '*')
        return true;
    for (; (at = memmem(at, (size_t)(end - at), tag.base, tag.len)) != NULL; at += tag.len) {
        bool weak = at - list.base >= 2 && at[-2] == 'W' && at[-1] == '/';
        if (!weak || !strong)
            return true;
    }
    return false;
}

/* False: no date, or one in a form that nobody has sent for decades; such a header is passed over. */
static bool read_date(h2o_iovec_t text, int64_t *seconds)
{
    struct tm tm = {.tm_sec = 0};
    if (text.base == NULL || h2o_time_parse_rfc1123(text.base, text.len, &tm) != 0)
        return false;
    *seconds = timegm(&tm);
    return true;
}

int condition_check(const struct condition *condition, const struct condition_state *state)
{
    int64_t date;
    if (condition->if_match.base != NULL) {
        if (!is_listed(condition->if_match, state->tag, true))
            return 412;
    } else if (state->modified != 0 && read_date(condition->if_unmodified_since, &date) &&
               state->modified > date) {
        return 412;
    }
    if (condition->if_none_match.base != NULL)
        return is_listed(condition->if_none_match, state->tag, false) ? 304 : 0;
    if (state->modified != 0 && read_date(condition->if_modified_since, &date) && state->modified <= date)
        return 304;
    return 0;
}

bool condition_range(h2o_iovec_t if_range, const struct condition_state *state)
{
    int64_t date;
    return if_range.base == NULL || h2o_memis(if_range.base, if_range.len, state->tag.base, state->tag.len) ||
           (state->modified != 0 && read_date(if_range, &date) && date == state->modified);
}
