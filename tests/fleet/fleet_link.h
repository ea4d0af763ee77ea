/* sim_link.h for thousands of devices: MQTT 3.1.1 on a socket of its own for each, without threads, and
 * without buffers while nothing is under way. libmosquitto takes three descriptors a connection and connects
 * blocking, Paho a thread's attention and 100 KB.
 *
 * What a link connects to, and whether it may, is in a gate around its registration. */
#pragma once
#include "fleet_loop.h"
#include "sim_link.h"
#include <openssl/ssl.h>
#include <sys/socket.h>

/* One for all devices. */
struct fleet_broker {
    struct sockaddr_storage address;
    socklen_t address_len;
    SSL_CTX *tls; /* NULL: plain */
    const char *host;
    uint32_t keep_alive; /* s */
};

struct fleet_gate {
    struct sim_registration registration; /* first: a link is given this, and finds the gate by it */
    const struct fleet_broker *broker;
    struct sim_link *link; /* the one there is now, or NULL */
    bool closed;           /* out of reach: connections break, attempts fail */
    unsigned connects;     /* how often the broker let it in */
};

/* NULL: *error (static text) says why. `ca`: PEM text, or NULL for the system's certificates. */
struct fleet_broker *fleet_broker_new(const char *host, int port, bool tls, const char *ca,
                                      const char **error);
void fleet_broker_free(struct fleet_broker *broker);

/* Breaks the connection at once, as when the radio is cut off: the broker is told nothing. */
void fleet_gate_close(struct fleet_gate *gate);
void fleet_gate_open(struct fleet_gate *gate);
bool fleet_gate_online(const struct fleet_gate *gate);
