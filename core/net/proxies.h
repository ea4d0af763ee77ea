/* Which client a request comes from when it came through proxies: X-Forwarded-For counts as far as those who
 * wrote it are trusted. Immutable once made; any thread.
 *
 * Addresses are IPv6; those of IPv4 are mapped into it (::ffff:1.2.3.4), however a socket or a text gives
 * them, and are written as IPv4. */
#pragma once
#include <h2o.h>
#include <netinet/in.h>
#include <stdbool.h>

struct proxies;

/* `list`: addresses and networks ("10.0.0.0/8", "fd00::/8"), comma-separated; empty: nobody is trusted. NULL
 * and *error (owned by the caller). */
struct proxies *proxies_new(const char *list, char **error) __attribute__((warn_unused_result));
void proxies_free(struct proxies *proxies);

/* False: neither IPv4 nor IPv6. */
bool proxies_address(const struct sockaddr *from, struct in6_addr *out);
void proxies_print(const struct in6_addr *address, char out[INET6_ADDRSTRLEN]);

/* Walks one X-Forwarded-For from its right end, where the nearest proxy wrote: as long as *address is trusted
 * it becomes the one before. First of all *address is the peer's, and the last of several headers is given
 * first. True: go on with the header before. An entry that is no address ends the walk: whoever wrote it is
 * taken for the client. */
bool proxies_walk(const struct proxies *proxies, h2o_iovec_t header, struct in6_addr *address);
