#include "base/config.h"
#include "base/mem.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY(name, type, field, fallback, help, alias)                                                        \
    {                                                                                                        \
        name, type, offsetof(struct config, field), fallback, help, alias, false                             \
    }
#define SECRET(name, field, help, alias)                                                                     \
    {                                                                                                        \
        name, CONFIG_STRING, offsetof(struct config, field), "", help, alias, true                           \
    }

static const struct config_key keys[] = {
    KEY("var", CONFIG_STRING, var, "var", "directory of data, keys and certificates", NULL),
    KEY("public_url", CONFIG_STRING, public_url, "",
        "what devices and browsers see (default: the HTTP port here)", NULL),
    KEY("scripts", CONFIG_STRING, scripts, "scripts", "directory of the Lua scripts", NULL),
    KEY("sql", CONFIG_STRING, sql, "sql", "directory of migrations and queries", NULL),
    KEY("console.dir", CONFIG_STRING, console_dir, "plugins/console/dist/browser",
        "directory of the built web console, read once, at start; empty: no console", NULL),
    KEY("workers", CONFIG_INT, workers, "0", "event loops; 0: one a processor", NULL),
    KEY("log.level", CONFIG_STRING, log_level, "info", "debug, info, warn or error", NULL),

    KEY("http.address", CONFIG_STRING, http_address, "0.0.0.0", "address to listen on", NULL),
    KEY("http.port", CONFIG_INT, http_port, "8080", "port of HTTP/1.1 and h2c", "PORT"),
    KEY("https.port", CONFIG_INT, https_port, "8443", "port of HTTPS; 0: none", NULL),
    KEY("https.certificate", CONFIG_STRING, https_certificate, "", "certificate chain, PEM; empty: no HTTPS",
        NULL),
    KEY("https.key", CONFIG_STRING, https_key, "", "its key, PEM", NULL),
    KEY("http.trusted_proxies", CONFIG_STRING, http_trusted_proxies, "",
        "addresses and networks whose X-Forwarded-For is believed, comma-separated", NULL),
    KEY("http.origins", CONFIG_STRING, http_origins, "",
        "other origins whose pages may use the API and the live feed, comma-separated", NULL),
    KEY("http.max_connections", CONFIG_INT, http_max_connections, "4096", "open at once", NULL),
    KEY("http.max_body", CONFIG_SIZE, http_max_body, "1MiB", "largest request body but for uploads", NULL),
    KEY("http.body_budget", CONFIG_SIZE, http_body_budget, "128MiB",
        "memory for bodies under way, all connections together", NULL),

    KEY("lua.memory", CONFIG_SIZE, lua_memory, "64MiB", "memory the scripts of one worker may use", NULL),
    KEY("lua.call_timeout", CONFIG_DURATION, lua_call_timeout, "250ms",
        "computing time of one call into a script", NULL),

    SECRET("database.url", database_url, "PostgreSQL (default: the private one of conf/up)", "DATABASE_URL"),
    KEY("database.connections", CONFIG_INT, database_connections, "2", "pipelined connections a worker",
        NULL),
    KEY("database.timeout", CONFIG_DURATION, database_timeout, "5s", "time a statement may take", NULL),
    SECRET("redis.url", redis_url, "Redis (default: the private one of conf/up)", "REDIS_URL"),
    KEY("pg.port", CONFIG_INT, pg_port, "5433", "port of the private PostgreSQL", NULL),
    KEY("redis.port", CONFIG_INT, redis_port, "6380", "port of the private Redis", NULL),

    SECRET("mqtt.url", mqtt_url, "broker, as mqtt:// or mqtts:// (default: the private one)", "MQTT_URL"),
    KEY("mqtt.port", CONFIG_INT, mqtt_port, "1883", "port of the private broker's development listener",
        NULL),
    KEY("mqtt.username", CONFIG_STRING, mqtt_username, "otad", "otad's own account there", NULL),
    SECRET("mqtt.password", mqtt_password, "its password (better: OTAD_MQTT_PASSWORD_FILE)", NULL),
    KEY("mqtt.ca", CONFIG_STRING, mqtt_ca, "", "CA certificate for mqtts, PEM; told to devices", NULL),
    KEY("mqtt.public_host", CONFIG_STRING, mqtt_public_host, "localhost", "broker's name as devices see it",
        NULL),
    KEY("mqtt.public_port", CONFIG_INT, mqtt_public_port, "8883", "and its port", "OTAD_MQTTS_PORT"),
    KEY("mqtt.public_tls", CONFIG_BOOL, mqtt_public_tls, "true", "whether devices speak TLS to it", NULL),
    KEY("mqtt.queue", CONFIG_INT, mqtt_queue, "16384", "messages taken and not yet handled, per worker",
        NULL),

    KEY("auth.jwt_keys", CONFIG_STRING, auth_jwt_keys, "var/keys/jwt.key",
        "key files, comma-separated; the first signs", NULL),
    KEY("auth.issuer", CONFIG_STRING, auth_issuer, "otad", "iss of access tokens", NULL),
    KEY("auth.audience", CONFIG_STRING, auth_audience, "otad", "aud of access tokens", NULL),
    KEY("auth.access_ttl", CONFIG_DURATION, auth_access_ttl, "15m", "life of an access token", NULL),
    KEY("auth.refresh_ttl", CONFIG_DURATION, auth_refresh_ttl, "30d", "life of a session without refresh",
        NULL),
    KEY("auth.cookie_samesite", CONFIG_STRING, auth_cookie_samesite, "Strict",
        "SameSite of the refresh cookie; None: for consoles of http.origins on other sites", NULL),
    KEY("auth.hash_threads", CONFIG_INT, auth_hash_threads, "2", "threads for password hashing and files",
        NULL),
    KEY("auth.hash_queue", CONFIG_INT, auth_hash_queue, "64", "jobs waiting for them; more is 503", NULL),
    KEY("auth.max_failures", CONFIG_INT, auth_max_failures, "5",
        "failed logins of an account or address before 429", NULL),
    KEY("auth.failure_window", CONFIG_DURATION, auth_failure_window, "15m", "in this time", NULL),
    KEY("auth.max_registrations", CONFIG_INT, auth_max_registrations, "30",
        "accounts an address may ask for before 429", NULL),
    KEY("auth.registration_window", CONFIG_DURATION, auth_registration_window, "1h", "in this time", NULL),

    KEY("manifest.key", CONFIG_STRING, manifest_key, "var/keys/manifest.key", "Ed25519 key that signs offers",
        NULL),
    KEY("release.keys", CONFIG_STRING, release_keys, "", ".pub files trusted for firmware, comma-separated",
        NULL),
    KEY("firmware.auto_sign", CONFIG_BOOL, firmware_auto_sign, "false",
        "sign uploads with a key of the server's", NULL),
    KEY("firmware.auto_sign_key", CONFIG_STRING, firmware_auto_sign_key, "var/keys/release-dev.key",
        "that key", NULL),
    KEY("firmware.max_size", CONFIG_SIZE, firmware_max_size, "16MiB", "largest image", NULL),
    KEY("firmware.store", CONFIG_STRING, firmware_store, "var/firmware", "directory of the images", NULL),

    KEY("device.offline_after", CONFIG_DURATION, device_offline_after, "120s",
        "silence after which a device is offline", NULL),
    KEY("update.offer_ttl", CONFIG_DURATION, update_offer_ttl, "1h",
        "life of a signed offer; renewed while under way", NULL),
    KEY("update.timeout", CONFIG_DURATION, update_timeout, "15m", "silence of a device that took its offer",
        NULL),
    KEY("update.offer_timeout", CONFIG_DURATION, update_offer_timeout, "7d",
        "time an offer may wait for its device", NULL),
    KEY("policies.save", CONFIG_BOOL, policies_save, "true",
        "policies put in force over HTTP are written to scripts/policies, too", NULL),
    KEY("feed.max_connections", CONFIG_INT, feed_max_connections, "2048",
        "WebSockets open at once; they count in http.max_connections, too", NULL),
    KEY("feed.max_per_account", CONFIG_INT, feed_max_per_account, "100", "of them, of one account", NULL),
    KEY("feed.memory", CONFIG_SIZE, feed_memory, "32MiB", "events that wait for slow readers, all together",
        NULL),
    KEY("ingest.flush_interval", CONFIG_DURATION, ingest_flush_interval, "100ms",
        "between batched writes of device state", NULL),
    KEY("telemetry.window", CONFIG_DURATION, telemetry_window, "10s", "time one row of history covers", NULL),
    KEY("telemetry.keep_days", CONFIG_INT, telemetry_keep_days, "30", "days of history", NULL),
    KEY("logs.keep_days", CONFIG_INT, logs_keep_days, "30", "days of device logs and events", NULL),
    KEY("decisions.keep_days", CONFIG_INT, decisions_keep_days, "90", "days of decisions on rollouts", NULL),
};

const struct config_key *config_keys(size_t *count)
{
    *count = sizeof(keys) / sizeof(keys[0]);
    return keys;
}

const struct config_key *config_find(const char *name)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

void config_variable(const char *key, char *out, size_t size)
{
    int n = snprintf(out, size, "OTAD_");
    for (; *key != '\0' && (size_t)n + 1 < size; key++)
        out[n++] = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
    out[n] = '\0';
}

/* A decimal number with one of the given units; the result, in the unit whose factor is 1, must be whole. */
struct unit {
    const char *name;
    double factor;
};

static bool parse_number(const char *text, const struct unit *units, int64_t *out)
{
    char *end;
    size_t digits = strspn(text, "0123456789."); /* strtod takes words, signs and hexadecimals, too */
    double value = strtod(text, &end);
    if (digits == 0 || end != text + digits)
        return false;
    for (; units->name != NULL; units++) {
        if (strcmp(end, units->name) == 0) {
            value *= units->factor;
            if (value > 9e15 || value != floor(value))
                return false;
            *out = (int64_t)value;
            return true;
        }
    }
    return false;
}

static bool set_value(struct config *config, const struct config_key *key, const char *text)
{
    static const struct unit plain[] = {{"", 1}, {NULL, 0}};
    static const struct unit times[] = {{"", 1000},      {"ms", 1},        {"s", 1000}, {"m", 60000},
                                        {"h", 3600000.}, {"d", 86400000.}, {NULL, 0}};
    static const struct unit sizes[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824.}, {NULL, 0}};
    void *field = (char *)config + key->offset;

    switch (key->type) {
    case CONFIG_STRING:
        free(*(char **)field);
        *(char **)field = x_strdup(text);
        return true;
    case CONFIG_BOOL:
        if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
            *(bool *)field = true;
        else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            *(bool *)field = false;
        else
            return false;
        return true;
    case CONFIG_INT:
        return parse_number(text, plain, field);
    case CONFIG_DURATION:
        return parse_number(text, times, field);
    case CONFIG_SIZE:
        return parse_number(text, sizes, field);
    }
    return false;
}

static const char *wanted(const struct config_key *key)
{
    static const char *const texts[] = {"a text", "a whole number", "true or false",
                                        "a duration such as \"30s\", \"15m\" or a number of seconds",
                                        "a size such as \"16MiB\" or a number of bytes"};
    return texts[key->type];
}

/* Sets one entry from the value on top of the stack, which stays there. */
static bool read_value(lua_State *L, struct config *config, const char *file, const char *name, char **error)
{
    const struct config_key *key = config_find(name);
    if (key == NULL) {
        *error = x_printf("%s: unknown key %s", file, name);
        return false;
    }
    bool ok = false;
    if (lua_isboolean(L, -1) && key->type == CONFIG_BOOL) {
        ok = set_value(config, key, lua_toboolean(L, -1) ? "true" : "false");
    } else if (lua_isstring(L, -1)) {
        lua_pushvalue(L, -1); /* lua_tostring changes a number in place, which confuses lua_next */
        ok = set_value(config, key, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (!ok)
        *error = x_printf("%s: %s must be %s", file, name, wanted(key));
    return ok;
}

/* Walks the table on top of the stack; `prefix` is "" or "section.". */
static bool read_table(lua_State *L, struct config *config, const char *file, const char *prefix,
                       char **error)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        char name[96];
        if (lua_type(L, -2) != LUA_TSTRING) {
            *error = x_printf("%s: every entry needs a name", file);
            return false;
        }
        bool section = lua_istable(L, -1) && *prefix == '\0';
        snprintf(name, sizeof(name), "%s%s%s", prefix, lua_tostring(L, -2), section ? "." : "");
        if (section ? !read_table(L, config, file, name, error) : !read_value(L, config, file, name, error))
            return false;
    }
    return true;
}

enum { MOST_INSTRUCTIONS = 10000000, MOST_MEMORY = 16 << 20 };

/* `arg`: the bytes that are left. */
static void *allocate(void *arg, void *block, size_t before, size_t size)
{
    size_t *left = arg, old = block != NULL ? before : 0;
    void *grown = NULL;
    if (size > old && size - old > *left)
        return NULL;
    if (size == 0)
        free(block);
    else if ((grown = realloc(block, size)) == NULL)
        return NULL;
    *left = *left + old - size;
    return grown;
}

static void on_too_long(lua_State *L, lua_Debug *debug)
{
    luaL_where(L, 0);
    lua_pushliteral(L, "the configuration does not come to its end: is this loop endless?");
    lua_concat(L, 2);
    lua_error(L);
}

/* The message on top of the stack, with the file where it names none ("not enough memory"). */
static char *file_error(lua_State *L, const char *file)
{
    const char *text = lua_tostring(L, -1);
    if (text == NULL)
        return x_printf("%s: %s", file, luaL_typename(L, -1));
    return strchr(text, ':') != NULL ? x_strdup(text) : x_printf("%s: %s", file, text);
}

static bool read_file(struct config *config, const char *file, char **error)
{
    size_t left = MOST_MEMORY;
    lua_State *L = lua_newstate(allocate, &left); /* without any library: the file is data */
    bool ok = false;
    if (L == NULL)
        abort();
    lua_sethook(L, on_too_long, LUA_MASKCOUNT, MOST_INSTRUCTIONS);
    bool ran = luaL_loadfilex(L, file, "t") == LUA_OK && lua_pcall(L, 0, 1, 0) == LUA_OK;
    left = SIZE_MAX / 2; /* from here on nothing catches what fails */
    if (!ran)
        *error = file_error(L, file);
    else if (!lua_istable(L, -1))
        *error = x_printf("%s: must return a table", file);
    else
        ok = read_table(L, config, file, "", error);
    lua_close(L);
    return ok;
}

/* The content of a file less its trailing newline, or NULL. */
static char *read_secret(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    if (n == (ssize_t)sizeof(text)) {
        errno = EFBIG;
        n = -1;
    }
    if (n < 0)
        return NULL;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    return x_memdup(text, (size_t)n);
}

static bool read_variable(struct config *config, const struct config_key *key, const char *variable,
                          char **error)
{
    char with_file[112];
    const char *value = getenv(variable), *path;
    char *secret = NULL;
    snprintf(with_file, sizeof(with_file), "%s_FILE", variable);
    if (value == NULL && (path = getenv(with_file)) != NULL && *path != '\0') {
        value = secret = read_secret(path);
        if (secret == NULL) {
            *error = x_printf("%s: cannot read %s: %s", with_file, path, strerror(errno));
            return false;
        }
    }
    bool ok = value == NULL || *value == '\0' || set_value(config, key, value);
    if (!ok)
        *error = x_printf("%s must be %s", variable, wanted(key));
    free(secret);
    return ok;
}

static bool read_environment(struct config *config, char **error)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char variable[96];
        config_variable(keys[i].name, variable, sizeof(variable));
        if (keys[i].alias != NULL && !read_variable(config, &keys[i], keys[i].alias, error))
            return false;
        if (!read_variable(config, &keys[i], variable, error))
            return false;
    }
    return true;
}

static void replace(char **field, char *value)
{
    free(*field);
    *field = value;
}

/* What conf/up left for this key in `var`: the address of a service, with its password. NULL: it did not. */
static char *kept(const struct config *config, const char *name)
{
    char *path = x_printf("%s/keys/%s", config->var, name);
    char *value = read_secret(path);
    free(path);
    return value;
}

/* Of the private services of conf/up: with the port that a variable names, where one does. */
static char *kept_service(const struct config *config, const char *name, const char *variable, int64_t port)
{
    static const char host[] = "@127.0.0.1:";
    const char *set = getenv(variable);
    char *value = kept(config, name), *at = value == NULL ? NULL : strstr(value, host);
    if (at == NULL || set == NULL || *set == '\0')
        return value;
    at += sizeof(host) - 1;
    char *other =
        x_printf("%.*s%lld%s", (int)(at - value), value, (long long)port, at + strspn(at, "0123456789"));
    free(value);
    return other;
}

/* What is left empty follows from other keys: the private services of conf/up, and files under `var`. */
static void derive(struct config *config)
{
    char *value;
    if (*config->public_url == '\0')
        replace(&config->public_url, x_printf("http://localhost:%lld", (long long)config->http_port));
    if (*config->database_url == '\0') {
        value = kept_service(config, "database.url", "OTAD_PG_PORT", config->pg_port);
        replace(&config->database_url, value != NULL ? value
                                                     : x_printf("postgresql://otad@127.0.0.1:%lld/otad",
                                                                (long long)config->pg_port));
    }
    if (*config->redis_url == '\0') {
        value = kept_service(config, "redis.url", "OTAD_REDIS_PORT", config->redis_port);
        replace(&config->redis_url,
                value != NULL ? value : x_printf("redis://127.0.0.1:%lld", (long long)config->redis_port));
    }
    if (*config->mqtt_url == '\0') {
        replace(&config->mqtt_url, x_printf("mqtt://127.0.0.1:%lld", (long long)config->mqtt_port));
        if (*config->mqtt_password == '\0' && (value = kept(config, "mqtt.password")) != NULL)
            replace(&config->mqtt_password, value);
    }
    size_t len = strlen(config->public_url);
    if (config->public_url[len - 1] == '/')
        config->public_url[len - 1] = '\0';

    char **const paths[] = {&config->auth_jwt_keys, &config->manifest_key, &config->firmware_auto_sign_key,
                            &config->firmware_store};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strncmp(*paths[i], "var/", 4) == 0)
            replace(paths[i], x_printf("%s/%s", config->var, *paths[i] + 4));
    }
}

/* Values that would mean something else, or nothing, beyond these. */
static bool within_limits(const struct config *config, char **error)
{
    static const struct {
        const char *name;
        int64_t least, most;
    } limits[] = {{"http.port", 0, 65535},
                  {"https.port", 0, 65535},
                  {"pg.port", 1, 65535},
                  {"redis.port", 1, 65535},
                  {"mqtt.port", 1, 65535},
                  {"mqtt.public_port", 1, 65535},
                  {"workers", 0, 64},
                  {"http.max_connections", 1, 1000000},
                  {"feed.max_connections", 1, 1000000},
                  {"feed.max_per_account", 1, 60000},
                  {"feed.memory", 65536, INT64_MAX},
                  {"lua.memory", 1048576, INT64_MAX},
                  {"lua.call_timeout", 1, 86400000},
                  {"database.connections", 1, 1000},
                  {"database.timeout", 1, 86400000},
                  {"mqtt.queue", 1, INT64_MAX},
                  {"auth.hash_threads", 1, 1000},
                  {"auth.hash_queue", 1, 1000000},
                  {"auth.max_registrations", 1, 1000000}};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const struct config_key *key = config_find(limits[i].name);
        int64_t value = *(const int64_t *)((const char *)config + key->offset);
        if (value < limits[i].least || value > limits[i].most) {
            *error = x_printf("%s is out of range: at least %lld%s, at most %lld", key->name,
                              (long long)limits[i].least, key->type == CONFIG_DURATION ? " ms" : "",
                              (long long)limits[i].most);
            return false;
        }
    }
    if (strcmp(config->auth_cookie_samesite, "Strict") != 0 &&
        strcmp(config->auth_cookie_samesite, "None") != 0) {
        *error = x_strdup("auth.cookie_samesite must be Strict or None");
        return false;
    }
    return true;
}

static void move_home(struct config *config, const char *home)
{
    char **const paths[] = {&config->var, &config->scripts, &config->sql, &config->console_dir};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (**paths[i] != '/')
            replace(paths[i], x_printf("%s/%s", home, *paths[i]));
    }
}

struct config *config_load(const char *file, const char *home, char **error)
{
    struct config *config = x_new(struct config);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!set_value(config, &keys[i], keys[i].fallback)) {
            *error = x_printf("default of %s", keys[i].name);
            goto fail;
        }
    }
    if ((access(file, F_OK) == 0 || errno != ENOENT) && !read_file(config, file, error))
        goto fail;
    if (home != NULL)
        move_home(config, home);
    if (!read_environment(config, error) || !within_limits(config, error))
        goto fail;
    derive(config);
    return config;
fail:
    config_free(config);
    return NULL;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (keys[i].type == CONFIG_STRING)
            free(*(char **)((char *)config + keys[i].offset));
    }
    free(config);
}
