#include "net/origin.h"
#include <string.h>
#include <strings.h>

bool origin_listed(h2o_iovec_t origin, const char *origins)
{
    for (const char *at = origins; *at != '\0';) {
        size_t skip = strspn(at, ", "), len = strcspn(at + skip, ", ");
        at += skip;
        if (len != 0 && len == origin.len && strncasecmp(at, origin.base, len) == 0)
            return true;
        at += len;
    }
    return false;
}

bool origin_allowed(h2o_iovec_t origin, h2o_iovec_t host, const char *origins)
{
    static const char *const schemes[] = {"http://", "https://"};
    if (origin.base == NULL)
        return true;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (origin.len == len + host.len && strncasecmp(origin.base, schemes[i], len) == 0 &&
            strncasecmp(origin.base + len, host.base, host.len) == 0)
            return true;
    }
    return origin_listed(origin, origins);
}
