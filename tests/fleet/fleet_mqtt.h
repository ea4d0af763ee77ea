/* The packets of MQTT 3.1.1 that a device writes and reads. No state, no I/O. */
#pragma once
#include "sim_registration.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FLEET_PACKET_MAX = 6144 };

struct fleet_packet {
    uint8_t bytes[FLEET_PACKET_MAX];
    size_t len;
    bool full; /* it did not fit: send nothing of it */
};

void fleet_mqtt_connect(struct fleet_packet *out, const struct sim_registration *registration,
                        const char *will, uint32_t keep_alive);
void fleet_mqtt_subscribe(struct fleet_packet *out, uint16_t id, const char *topic); /* with QoS 1 */
void fleet_mqtt_publish(struct fleet_packet *out, const char *topic, const char *text,
                        uint16_t id); /* 0: QoS 0 */
void fleet_mqtt_ack(struct fleet_packet *out, uint16_t id);
void fleet_mqtt_ping(struct fleet_packet *out);

enum fleet_mqtt_type {
    FLEET_CONNACK = 2,
    FLEET_PUBLISH = 3,
    FLEET_PUBACK = 4,
    FLEET_SUBACK = 9,
    FLEET_PINGRESP = 13
};

struct fleet_message {
    int type;
    uint16_t id;            /* 0: QoS 0 */
    uint8_t code;           /* of CONNACK and SUBACK */
    const uint8_t *payload; /* into the bytes read */
    size_t payload_len;
};

/* The length of the first packet in data; 0: not whole yet; -1: malformed. */
long fleet_mqtt_read(const uint8_t *data, size_t len, struct fleet_message *out);
