/* The entry points that Mosquitto (2.0, plugin interface 5) looks for, and its callbacks: each only hands on
 * to auth.h. All run on the broker's one thread, from mosquitto_plugin_init to mosquitto_plugin_cleanup.
 *
 * per_listener_settings must be false: with it Mosquitto 2.0 never calls a plugin's tick. */
#include "auth.h"
#include "base/mem.h"
#include <mosquitto.h>
#include <sodium.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

struct plugin {
    mosquitto_plugin_id_t *identifier;
    struct options *options;
    struct auth *auth;
};

EXPORT int mosquitto_plugin_version(int count, const int *versions);
EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                                 struct mosquitto_opt *options, int count);
EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count);

static int on_connect(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_basic_auth *d = data;
    return auth_connect(((struct plugin *)userdata)->auth, d->client, d->username, d->password);
}

static int on_access(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_acl_check *d = data;
    return auth_access(((struct plugin *)userdata)->auth, d->client, d);
}

static int on_message(int event, void *data, void *userdata)
{
    auth_message(((struct plugin *)userdata)->auth, data);
    return MOSQ_ERR_SUCCESS;
}

static int on_disconnect(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_disconnect *d = data;
    auth_disconnect(((struct plugin *)userdata)->auth, d->client);
    return MOSQ_ERR_SUCCESS;
}

static int on_reload(int event, void *data, void *userdata)
{
    auth_reload(((struct plugin *)userdata)->auth);
    return MOSQ_ERR_SUCCESS;
}

static int on_tick(int event, void *data, void *userdata)
{
    auth_tick(((struct plugin *)userdata)->auth);
    return MOSQ_ERR_SUCCESS;
}

static const struct {
    int event;
    MOSQ_FUNC_generic_callback callback;
} callbacks[] = {
    {MOSQ_EVT_BASIC_AUTH, on_connect},    {MOSQ_EVT_ACL_CHECK, on_access}, {MOSQ_EVT_MESSAGE, on_message},
    {MOSQ_EVT_DISCONNECT, on_disconnect}, {MOSQ_EVT_RELOAD, on_reload},    {MOSQ_EVT_TICK, on_tick},
};
enum { CALLBACKS = sizeof(callbacks) / sizeof(callbacks[0]) };

int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++) {
        if (versions[i] == MOSQ_PLUGIN_VERSION)
            return MOSQ_PLUGIN_VERSION;
    }
    return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata, struct mosquitto_opt *options,
                          int count)
{
    char error[512] = "libsodium does not start";
    struct plugin *plugin = x_new(struct plugin);
    plugin->identifier = identifier;
    if (sodium_init() >= 0)
        plugin->options = options_new(options, count, error, sizeof(error));
    if (plugin->options != NULL)
        plugin->auth = auth_new(plugin->options, error, sizeof(error));
    if (plugin->auth == NULL) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "otad: %s", error);
        options_free(plugin->options);
        free(plugin);
        return MOSQ_ERR_INVAL;
    }
    *userdata = plugin;
    for (size_t i = 0; i < CALLBACKS; i++) {
        int rc =
            mosquitto_callback_register(identifier, callbacks[i].event, callbacks[i].callback, NULL, plugin);
        if (rc != MOSQ_ERR_SUCCESS)
            return rc; /* the broker ends */
    }
    return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    struct plugin *plugin = userdata;
    if (plugin == NULL)
        return MOSQ_ERR_SUCCESS;
    for (size_t i = 0; i < CALLBACKS; i++)
        mosquitto_callback_unregister(plugin->identifier, callbacks[i].event, callbacks[i].callback, NULL);
    auth_free(plugin->auth);
    options_free(plugin->options);
    free(plugin);
    return MOSQ_ERR_SUCCESS;
}
