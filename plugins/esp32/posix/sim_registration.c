/* Reads registration.json with jansson; numbers and texts are copied out, nothing of the tree stays. */
#include "sim_registration.h"
#include "otad_text.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool complain(char **error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool complain(char **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (vasprintf(error, format, args) < 0) {
        *error = NULL;
    }
    va_end(args);
    return false;
}

static bool read_keys(const json_t *value, uint8_t keys[][OTAD_KEY], uint8_t *count)
{
    size_t many = json_is_array(value) ? json_array_size(value) : 1;
    if (many < 1 || many > OTAD_KEYS_MAX) {
        return false;
    }
    for (size_t i = 0; i < many; i++) {
        const char *text = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        if (!text || !otad_base64_decode(text, keys[i], OTAD_KEY)) {
            return false;
        }
    }
    *count = (uint8_t)many;
    return true;
}

static bool read_tree(struct sim_registration *out, json_t *root, char **error)
{
    const char *username, *password, *client_id, *host, *status, *ota, *logs, *ca = NULL, *chip = NULL;
    json_t *manifest, *release, *ca_value = NULL;
    json_int_t id;
    json_error_t trouble;
    int tls;
    if (json_unpack_ex(root, &trouble, 0,
                       "{s:{s:I},s:{s:s,s:s,s:s},s:{s:s,s:i,s:b,s?o,s:{s:s,s:s,s:s}},s:{s:o,s:o}}", "device",
                       "id", &id, "credentials", "username", &username, "password", &password, "client_id",
                       &client_id, "mqtt", "host", &host, "port", &out->port, "tls", &tls, "ca", &ca_value,
                       "topics", "status", &status, "ota", &ota, "logs", &logs, "keys", "manifest", &manifest,
                       "release", &release) != 0) {
        return complain(error, "%s", trouble.text);
    }
    ca = json_string_value(ca_value);
    chip = json_string_value(json_object_get(json_object_get(root, "device"), "chip"));
    out->trust.device_id = (uint64_t)id;
    otad_text_copy(out->trust.chip, sizeof out->trust.chip, chip ? chip : "esp32");
    if (!read_keys(manifest, out->trust.manifest_key, &out->trust.manifest_keys)) {
        return complain(error, "keys.manifest: not one to %d base64 Ed25519 public keys", OTAD_KEYS_MAX);
    }
    if (!read_keys(release, out->trust.release_key, &out->trust.release_keys)) {
        return complain(error, "keys.release: not one to %d base64 Ed25519 public keys", OTAD_KEYS_MAX);
    }
    out->tls = tls;
    out->username = strdup(username);
    out->password = strdup(password);
    out->client_id = strdup(client_id);
    out->host = strdup(host);
    out->status_topic = strdup(status);
    out->ota_topic = strdup(ota);
    out->logs_topic = strdup(logs);
    out->ca = ca && *ca ? strdup(ca) : NULL;
    return true;
}

static bool take_tree(struct sim_registration *out, json_t *root, const json_error_t *trouble, char **error)
{
    *out = (struct sim_registration){0};
    if (!root) {
        return complain(error, "line %d: %s", trouble->line, trouble->text);
    }
    bool good = read_tree(out, root, error);
    json_decref(root);
    return good;
}

bool sim_registration_load(struct sim_registration *out, const char *file, char **error)
{
    json_error_t trouble;
    return take_tree(out, json_load_file(file, JSON_REJECT_DUPLICATES, &trouble), &trouble, error);
}

bool sim_registration_parse(struct sim_registration *out, const char *text, char **error)
{
    json_error_t trouble;
    return take_tree(out, json_loads(text, JSON_REJECT_DUPLICATES, &trouble), &trouble, error);
}

void sim_registration_free(struct sim_registration *registration)
{
    free(registration->username);
    free(registration->password);
    free(registration->client_id);
    free(registration->host);
    free(registration->ca);
    free(registration->status_topic);
    free(registration->ota_topic);
    free(registration->logs_topic);
}
