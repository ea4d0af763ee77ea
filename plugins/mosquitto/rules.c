#include "rules.h"
#include <string.h>

/* Reads an id at *text and moves behind it; 0 if none stands there. */
static int32_t read_id(const char **text)
{
    int64_t id = 0;
    const char *s = *text;
    if (*s == '0')
        return 0;
    for (; *s >= '0' && *s <= '9'; s++) {
        id = id * 10 + (*s - '0');
        if (id > INT32_MAX)
            return 0;
    }
    *text = s;
    return (int32_t)id;
}

static bool skip(const char **text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(*text, prefix, len) != 0)
        return false;
    *text += len;
    return true;
}

int32_t rules_device(const char *name)
{
    if (!skip(&name, "device-"))
        return 0;
    int32_t id = read_id(&name);
    return *name == '\0' ? id : 0;
}

bool rules_plain(const char *name)
{
    for (const unsigned char *s = (const unsigned char *)name; *s != '\0'; s++) {
        if (*s < 0x20 || *s == 0x7f || *s == '+' || *s == '#' || *s == '/')
            return false;
    }
    return *name != '\0';
}

/* "device/42/ota" -> 42 and *leaf = "ota"; 0 for any other form. */
static int32_t read_topic(const char *topic, const char **leaf)
{
    if (!skip(&topic, "device/"))
        return 0;
    int32_t id = read_id(&topic);
    if (id == 0 || *topic != '/')
        return 0;
    *leaf = topic + 1;
    return id;
}

bool rules_device_may(int32_t id, enum rules_access access, const char *topic, size_t payload)
{
    const char *leaf;
    if (id <= 0 || read_topic(topic, &leaf) != id)
        return false;
    if (access == RULES_WRITE)
        return (strcmp(leaf, "status") == 0 || strcmp(leaf, "logs") == 0) && payload <= RULES_PAYLOAD_MAX;
    return strcmp(leaf, "ota") == 0;
}

bool rules_server_may(enum rules_access access, const char *topic)
{
    const char *leaf;
    if (access == RULES_WRITE)
        return read_topic(topic, &leaf) != 0 && strcmp(leaf, "ota") == 0;
    if (access == RULES_SUBSCRIBE)
        skip(&topic, "$share/otad/");
    return skip(&topic, "device/");
}
