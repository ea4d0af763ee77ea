/* A device's MQTT connection over Paho's asynchronous client. What happens is told on the loop's thread. */
#pragma once
#include "sim_loop.h"
#include "sim_registration.h"

struct sim_link_events {
    void (*on_up)(void *arg); /* connected and subscribed */
    void (*on_down)(void *arg, const char *why);
    void (*on_offer)(void *arg, const void *message, size_t len);
    void (*on_status_acked)(void *arg); /* the status published last */
};

/* The registration outlives the link; ca_file (or NULL) is what the broker's certificate is checked against.
 */
struct sim_link *sim_link_new(struct sim_loop *loop, const struct sim_registration *registration,
                              const char *ca_file, const struct sim_link_events *events, void *arg);
void sim_link_free(struct sim_link *link);
void sim_link_connect(struct sim_link *link, const char *will); /* ends in on_up or on_down */
bool sim_link_status(struct sim_link *link, const char *text);  /* QoS 1 */
bool sim_link_log(struct sim_link *link, const char *text);     /* QoS 0; false: not connected */

/* For the loop. */
void sim_link_take(struct sim_link *link, enum sim_news news, int token, const void *payload, size_t len);
