#include "net/proxies.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct network {
    struct in6_addr address;
    unsigned bits;
};

struct proxies {
    struct network *list;
    size_t count;
};

enum { MAPPED = 96 }; /* bits before an IPv4 address */

static void map(const void *ipv4, struct in6_addr *out)
{
    *out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(out->s6_addr + 12, ipv4, 4);
}

/* An address alone; *mapped: it was written as IPv4. Both are undefined after false. */
static bool read_address(const char *text, size_t len, struct in6_addr *out, bool *mapped)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr ipv4;
    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    *mapped = inet_pton(AF_INET, copy, &ipv4) == 1;
    if (*mapped)
        map(&ipv4, out);
    return *mapped || inet_pton(AF_INET6, copy, out) == 1;
}

/* As proxies write it: some add the port, and then need brackets for IPv6. */
static bool read_entry(const char *text, size_t len, struct in6_addr *out)
{
    struct in6_addr found;
    bool mapped, brackets = len > 0 && *text == '[';
    const char *stop;
    if (brackets) {
        stop = memchr(text, ']', len);
        if (stop == NULL || (stop + 1 != text + len && stop[1] != ':') ||
            !read_address(text + 1, (size_t)(stop - text) - 1, &found, &mapped) || mapped)
            return false;
    } else if (!read_address(text, len, &found, &mapped)) {
        stop = memchr(text, ':', len);
        if (stop == NULL || !read_address(text, (size_t)(stop - text), &found, &mapped) || !mapped)
            return false;
    }
    *out = found;
    return true;
}

static void trim(const char **text, size_t *len)
{
    while (*len > 0 && (**text == ' ' || **text == '\t'))
        (*text)++, (*len)--;
    while (*len > 0 && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
        (*len)--;
}

static bool read_network(const char *text, size_t len, struct network *out)
{
    const char *slash = memchr(text, '/', len);
    size_t address = slash == NULL ? len : (size_t)(slash - text);
    bool mapped;
    if (!read_address(text, address, &out->address, &mapped))
        return false;
    unsigned most = mapped ? 32 : 128, bits = 0;
    if (slash == NULL) {
        bits = most;
    } else {
        const char *at = slash + 1, *end = text + len;
        if (at == end || end - at > 3)
            return false;
        for (; at < end; at++) {
            if (*at < '0' || *at > '9')
                return false;
            bits = bits * 10 + (unsigned)(*at - '0');
        }
        if (bits > most)
            return false;
    }
    out->bits = bits + (mapped ? MAPPED : 0);
    return true;
}

struct proxies *proxies_new(const char *list, char **error)
{
    struct proxies *proxies = x_new(struct proxies);
    for (const char *at = list, *comma; *at != '\0'; at = comma + (*comma == ',')) {
        comma = strchrnul(at, ',');
        const char *text = at;
        size_t len = (size_t)(comma - at);
        trim(&text, &len);
        if (len == 0)
            continue;
        proxies->list = x_realloc(proxies->list, (proxies->count + 1) * sizeof(*proxies->list));
        if (!read_network(text, len, &proxies->list[proxies->count])) {
            *error = x_printf("%.*s is neither an address nor a network such as 10.0.0.0/8", (int)len, text);
            proxies_free(proxies);
            return NULL;
        }
        proxies->count++;
    }
    return proxies;
}

void proxies_free(struct proxies *proxies)
{
    free(proxies->list);
    free(proxies);
}

bool proxies_address(const struct sockaddr *from, struct in6_addr *out)
{
    if (from->sa_family == AF_INET)
        map(&((const struct sockaddr_in *)(const void *)from)->sin_addr, out);
    else if (from->sa_family == AF_INET6)
        *out = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    else
        return false;
    return true;
}

void proxies_print(const struct in6_addr *address, char out[INET6_ADDRSTRLEN])
{
    if (IN6_IS_ADDR_V4MAPPED(address))
        inet_ntop(AF_INET, address->s6_addr + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

static bool is_trusted(const struct proxies *proxies, const struct in6_addr *address)
{
    for (size_t i = 0; i < proxies->count; i++) {
        const struct network *network = &proxies->list[i];
        unsigned bytes = network->bits / 8, rest = network->bits % 8;
        if (memcmp(address, &network->address, bytes) == 0 &&
            (rest == 0 || ((address->s6_addr[bytes] ^ network->address.s6_addr[bytes]) >> (8 - rest)) == 0))
            return true;
    }
    return false;
}

bool proxies_walk(const struct proxies *proxies, h2o_iovec_t header, struct in6_addr *address)
{
    size_t left = header.len;
    while (is_trusted(proxies, address)) {
        if (left == 0)
            return true;
        const char *comma = memrchr(header.base, ',', left);
        const char *text = comma == NULL ? header.base : comma + 1;
        size_t len = left - (size_t)(text - header.base);
        left = comma == NULL ? 0 : (size_t)(comma - header.base);
        trim(&text, &len);
        if (len > 0 && !read_entry(text, len, address))
            return false;
    }
    return false;
}
