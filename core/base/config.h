/* Configuration: defaults, then conf/otad.lua, then the environment; read once at start, immutable after.
 *
 * Each key `section.name` has the variable OTAD_SECTION_NAME; OTAD_SECTION_NAME_FILE names a file whose
 * content (less a trailing newline) is the value. A few have a second, customary name (DATABASE_URL, ...).
 * Durations are written "500ms", "30s", "15m", "2h", "7d" or as a number of seconds; sizes "16MiB" or bytes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config {
    char *var;        /* directory of data, keys and certificates */
    char *public_url; /* what devices and browsers see, without a trailing slash */

    char *http_address;
    int64_t http_port;
    int64_t https_port; /* 0: no TLS listener */
    char *https_certificate, *https_key; /* PEM files */
    int64_t http_max_connections, http_max_body, http_body_budget;
    int64_t http_request_timeout; /* ms */

    int64_t workers; /* 0: one a processor */
    char *log_level;
    char *scripts; /* directory */
    int64_t lua_memory, lua_call_timeout; /* bytes a worker's scripts may use; ms a call may run */

    char *database_url;
    int64_t database_connections, database_transactions; /* per worker */
    int64_t database_timeout;                            /* ms */
    char *redis_url;

    char *mqtt_url, *mqtt_username, *mqtt_password_file, *mqtt_ca;
    char *mqtt_public_host; /* told to devices at registration */
    int64_t mqtt_public_port;
    bool mqtt_public_tls;
    int64_t mqtt_queue; /* messages taken and not yet handled, per worker */

    char *auth_jwt_keys; /* comma-separated files of at least 32 random bytes; the first signs */
    char *auth_issuer, *auth_audience;
    int64_t auth_access_ttl, auth_refresh_ttl; /* ms */
    char *auth_common_passwords;               /* file, one a line; empty: none */
    int64_t auth_offload_threads, auth_offload_queue;
    int64_t auth_max_failures, auth_failure_window; /* ms */

    char *manifest_key; /* Ed25519 key file that signs offers */
    char *release_keys; /* comma-separated .pub files trusted for firmware */
    bool firmware_auto_sign;
    char *firmware_auto_sign_key;
    int64_t firmware_max_size;
    char *firmware_store; /* directory */

    int64_t device_offline_after;  /* ms */
    int64_t update_offer_ttl;      /* ms an offer is good for before it is renewed */
    int64_t update_timeout;        /* ms of silence after a device took its offer */
    int64_t update_offer_timeout;  /* ms an offer may wait for a device */
    int64_t ingest_flush_interval; /* ms between two batched writes of device state */
    int64_t telemetry_window;      /* ms one row of history covers */
    int64_t telemetry_keep_days, logs_keep_days;
};

/* Reads everything. Returns NULL and *error (owned by the caller) naming the key and what is wrong with it. */
struct config *config_load(const char *file, char **error) __attribute__((warn_unused_result));
void config_free(struct config *config);

/* One key's value as text, for scripts and --help; NULL if there is no such key. Secrets are never listed. */
enum config_type { CONFIG_STRING, CONFIG_INT, CONFIG_BOOL, CONFIG_DURATION, CONFIG_SIZE };
struct config_key {
    const char *name;  /* "device.offline_after" */
    enum config_type type;
    size_t offset;     /* in struct config: char *, int64_t or bool */
    const char *fallback, *help;
    const char *alias; /* a second environment variable, or NULL */
};
const struct config_key *config_keys(size_t *count);
const struct config_key *config_find(const char *name);

/* The environment variable of a key: "device.offline_after" -> "OTAD_DEVICE_OFFLINE_AFTER". */
void config_variable(const char *key, char *out, size_t size);
