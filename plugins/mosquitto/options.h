/* The plugin's options: lines `plugin_opt_NAME VALUE` of mosquitto.conf. Read once when the broker starts,
 * except the server's password, which is read again on SIGHUP. */
#pragma once
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdbool.h>
#include <stdint.h>

struct options {
    char *database_url;         /* libpq's; required */
    char *redis_url;            /* redis://[[user]:password@]host[:port][/db] or unix:/path; NULL: no Redis */
    char *server_password_file; /* otad's own password; required, at least 16 characters, not readable by
                                   others */
    int64_t database_timeout;   /* ms one question may take: so long at most is the broker stalled (1000) */
    int64_t redis_timeout;      /* ms, the same for Redis (100) */
    int64_t redis_ttl;          /* s a hash stays in Redis; the same for all brokers of a fleet (60) */
    int64_t cache_size;         /* hashes kept in the process (65536; 48 bytes each) */
    int64_t cache_ttl;          /* s (300) */
    int64_t refused_size;       /* wrong passwords remembered (4096) */
    int64_t refused_ttl;        /* s (5) */
    int64_t
        recheck_interval; /* ms between two portions of the standing re-check of who is connected (2000) */
};

/* NULL: something is wrong; `error` says what. Every name must be known. */
struct options *options_new(const struct mosquitto_opt *given, int count, char *error, size_t error_size);
void options_free(struct options *options);

/* SHA-256 of the first line of the server's password file. False: unusable; `error` says why. */
bool options_server_hash(const struct options *options, uint8_t hash[32], char *error, size_t error_size);
