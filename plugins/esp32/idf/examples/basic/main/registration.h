/* Copied from the answer of POST /devices/register; each device has its own. A product keeps these in
 * (encrypted) NVS, written when it is provisioned, so that all devices run the same image. */
#pragma once

#define REGISTRATION_DEVICE_ID 42
#define REGISTRATION_USERNAME "device-42"
#define REGISTRATION_PASSWORD "shown once at registration"
#define REGISTRATION_CLIENT_ID "device-42"
#define REGISTRATION_MQTT_URI "mqtts://otad.example:8883"
#define REGISTRATION_CA "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"
#define REGISTRATION_STATUS_TOPIC "device/42/status"
#define REGISTRATION_OTA_TOPIC "device/42/ota"
#define REGISTRATION_LOGS_TOPIC "device/42/logs"
#define REGISTRATION_MANIFEST_KEY "keys.manifest, base64"
#define REGISTRATION_RELEASE_KEY "keys.release[0], base64"
