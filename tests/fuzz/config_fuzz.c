/* Values of the configuration: the first byte chooses a key, the rest is its variable. Numbers that are taken
 * are within what their type can mean. */
#include "base/config.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    char variable[96], *error = NULL;
    if (size == 0)
        return 0;
    const struct config_key *key = &keys[data[0] % count];
    char *value = strndup((const char *)data + 1, size - 1);
    config_variable(key->name, variable, sizeof(variable));
    setenv(variable, value, 1);
    struct config *config = config_load("/nonexistent/otad.lua", NULL, &error);
    if ((config == NULL) != (error != NULL))
        abort();
    if (config != NULL &&
        (key->type == CONFIG_INT || key->type == CONFIG_SIZE || key->type == CONFIG_DURATION)) {
        int64_t number = *(const int64_t *)((const char *)config + key->offset);
        if (number < 0 || number > 9000000000000000)
            abort();
    }
    config_free(config);
    free(error);
    free(value);
    unsetenv(variable);
    return 0;
}
