/* Configuration: defaults, then conf/otad.lua, then the environment; read once at start, immutable after.
 *
 * Each key `section.name` has the variable OTAD_SECTION_NAME; OTAD_SECTION_NAME_FILE names a file whose
 * content (less a trailing newline) is the value. A few have a second, customary name (DATABASE_URL, ...).
 * What each key means stands in the table of config.c, which `otad serve --help` prints.
 * Durations are written "500ms", "30s", "15m", "2h", "7d" or as a number of seconds; sizes "16MiB" or bytes;
 * the fields here hold ms and bytes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config {
    char *var;        /* directory of data, keys and certificates */
    char *public_url; /* what devices and browsers see, without a trailing slash */
    char *scripts, *sql, *console_dir;
    int64_t workers; /* 0: one a processor */
    char *log_level;

    char *http_address;
    int64_t http_port, https_port;
    char *https_certificate, *https_key;
    char *http_trusted_proxies, *http_origins;
    int64_t http_max_connections, http_max_body, http_body_budget;

    int64_t lua_memory, lua_call_timeout;

    char *database_url;
    int64_t database_connections, database_timeout;
    char *redis_url;
    int64_t pg_port, redis_port, mqtt_port;
    char *mqtt_url, *mqtt_username, *mqtt_password, *mqtt_ca, *mqtt_public_host;
    int64_t mqtt_public_port;
    bool mqtt_public_tls;
    int64_t mqtt_queue;

    char *auth_jwt_keys, *auth_issuer, *auth_audience, *auth_cookie_samesite;
    int64_t auth_access_ttl, auth_refresh_ttl;
    int64_t auth_hash_threads, auth_hash_queue, auth_max_failures, auth_failure_window;
    int64_t auth_max_registrations, auth_registration_window;

    char *manifest_key, *release_keys, *firmware_auto_sign_key, *firmware_store;
    bool firmware_auto_sign;
    int64_t firmware_max_size;

    int64_t device_offline_after;
    bool policies_save;
    int64_t update_offer_ttl, update_timeout, update_offer_timeout;
    int64_t feed_max_connections, feed_max_per_account, feed_memory;
    int64_t ingest_flush_interval, telemetry_window, telemetry_keep_days, logs_keep_days, decisions_keep_days;
};

/* Reads everything; a missing file is an empty one. `home` is what the relative `var`, `scripts`, `sql` and
 * `console.dir` of defaults and file are under (NULL: the working directory); what a variable names is
 * relative to the working directory. The file runs as Lua without any function, for 10 million instructions
 * and in 16 MiB at most. Returns NULL and *error (owned by the caller) naming the key, or the line, and what
 * is wrong with it. */
struct config *config_load(const char *file, const char *home, char **error)
    __attribute__((warn_unused_result));
void config_free(struct config *config);

/* The table of keys, for --help and for scripts. */
enum config_type { CONFIG_STRING, CONFIG_INT, CONFIG_BOOL, CONFIG_DURATION, CONFIG_SIZE };
struct config_key {
    const char *name; /* "device.offline_after" */
    enum config_type type;
    size_t offset; /* in struct config: char *, int64_t or bool */
    const char *fallback, *help;
    const char *alias; /* a second environment variable, or NULL */
    bool secret;       /* not to be shown, nor for scripts: a password, or an address that may hold one */
};
const struct config_key *config_keys(size_t *count);
const struct config_key *config_find(const char *name);

/* The environment variable of a key: "device.offline_after" -> "OTAD_DEVICE_OFFLINE_AFTER". */
void config_variable(const char *key, char *out, size_t size);
