/* Packets are written behind room for the longest head; the head is put right before the body at the end. */
#include "fleet_mqtt.h"
#include <string.h>

enum { HEAD_MAX = 5, KEEP_TYPE = 4 };

static void bytes(struct fleet_packet *out, const void *data, size_t len)
{
    if (len > FLEET_PACKET_MAX - HEAD_MAX - out->len) {
        out->full = true;
        return;
    }
    memcpy(out->bytes + HEAD_MAX + out->len, data, len);
    out->len += len;
}

static void number(struct fleet_packet *out, uint32_t value)
{
    bytes(out, (const uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void text(struct fleet_packet *out, const char *s)
{
    number(out, (uint32_t)strlen(s));
    bytes(out, s, strlen(s));
}

static void begin(struct fleet_packet *out)
{
    out->len = 0;
    out->full = false;
}

static void end(struct fleet_packet *out, uint8_t first)
{
    uint8_t head[HEAD_MAX] = {first};
    size_t head_len = 1;
    for (size_t left = out->len; head_len == 1 || left > 0; left /= 128) {
        head[head_len++] = (uint8_t)(left % 128 | (left >= 128 ? 128 : 0));
    }
    memmove(out->bytes + head_len, out->bytes + HEAD_MAX, out->len);
    memcpy(out->bytes, head, head_len);
    out->len += head_len;
}

void fleet_mqtt_connect(struct fleet_packet *out, const struct sim_registration *registration,
                        const char *will, uint32_t keep_alive)
{
    enum { USER = 0x80, PASSWORD = 0x40, WILL_QOS1 = 0x08, WILL = 0x04, CLEAN = 0x02 };
    begin(out);
    text(out, "MQTT");
    bytes(out, (const uint8_t[]){4, USER | PASSWORD | WILL_QOS1 | WILL | CLEAN}, 2);
    number(out, keep_alive);
    text(out, registration->client_id);
    text(out, registration->status_topic);
    text(out, will);
    text(out, registration->username);
    text(out, registration->password);
    end(out, 0x10);
}

void fleet_mqtt_subscribe(struct fleet_packet *out, uint16_t id, const char *topic)
{
    begin(out);
    number(out, id);
    text(out, topic);
    bytes(out, (const uint8_t[]){1}, 1);
    end(out, 0x82);
}

void fleet_mqtt_publish(struct fleet_packet *out, const char *topic, const char *payload, uint16_t id)
{
    begin(out);
    text(out, topic);
    if (id) {
        number(out, id);
    }
    bytes(out, payload, strlen(payload));
    end(out, id ? 0x32 : 0x30);
}

void fleet_mqtt_ack(struct fleet_packet *out, uint16_t id)
{
    begin(out);
    number(out, id);
    end(out, 0x40);
}

void fleet_mqtt_ping(struct fleet_packet *out)
{
    begin(out);
    end(out, 0xC0);
}

static bool read_publish(uint8_t first, const uint8_t *body, size_t len, struct fleet_message *out)
{
    size_t topic = len >= 2 ? 2 + (size_t)(body[0] << 8 | body[1]) : SIZE_MAX;
    size_t head = topic + (first & 6 ? 2 : 0);
    if (topic > len || head > len) {
        return false;
    }
    if (first & 6) {
        out->id = (uint16_t)(body[topic] << 8 | body[topic + 1]);
    }
    out->payload = body + head;
    out->payload_len = len - head;
    return true;
}

static bool read_body(uint8_t first, const uint8_t *body, size_t len, struct fleet_message *out)
{
    *out = (struct fleet_message){.type = first >> KEEP_TYPE};
    switch (out->type) {
    case FLEET_PUBLISH:
        return read_publish(first, body, len, out);
    case FLEET_CONNACK:
        out->code = len == 2 ? body[1] : 0;
        return len == 2;
    case FLEET_SUBACK:
        out->code = len == 3 ? body[2] : 0;
        return len == 3;
    case FLEET_PUBACK:
        out->id = len == 2 ? (uint16_t)(body[0] << 8 | body[1]) : 0;
        return len == 2;
    default:
        return true;
    }
}

long fleet_mqtt_read(const uint8_t *data, size_t len, struct fleet_message *out)
{
    size_t size = 0, at = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (at >= len) {
            return 0;
        }
        size |= (size_t)(data[at] & 127) << shift;
        if (!(data[at++] & 128)) {
            break;
        }
        if (shift == 21) {
            return -1;
        }
    }
    if (size > len - at) {
        return 0;
    }
    return read_body(data[0], data + at, size, out) ? (long)(at + size) : -1;
}
