/* Who may touch which topic: pure functions of names, no state. The source is the contract between devices
 * and otad:
 *   device-<id>  publishes device/<id>/status and device/<id>/logs, subscribes to device/<id>/ota
 *   otad         publishes device/<id>/ota of any device, subscribes to anything below device/, plainly or
 *                as $share/otad/device/...
 * <id> is a positive 32-bit number in its one decimal form: no sign, no leading zero. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rules_access { RULES_READ, RULES_WRITE, RULES_SUBSCRIBE };

enum { RULES_PAYLOAD_MAX = 4096 }; /* bytes of one message of a device */

/* "device-42" -> 42; 0 if the name is no device's. */
int32_t rules_device(const char *name);

/* A name that could not be mistaken for a topic filter and can be logged: no '+', '#', '/' or control bytes.
 */
bool rules_plain(const char *name);

bool rules_device_may(int32_t id, enum rules_access access, const char *topic, size_t payload);
bool rules_server_may(enum rules_access access, const char *topic);
