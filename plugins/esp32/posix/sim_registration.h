/* The answer of POST /devices/register, as a device keeps it. */
#pragma once
#include "otad_offer.h"

struct sim_registration {
    struct otad_trust trust; /* device_id, chip and keys; the rest is the caller's */
    char *username, *password, *client_id;
    char *host;
    int port;
    bool tls;
    char *ca; /* PEM text, or NULL: the system's certificates */
    char *status_topic, *ota_topic, *logs_topic;
};

/* False: *error (the caller's to free) says what is wrong with the file. */
bool sim_registration_load(struct sim_registration *out, const char *file, char **error)
    __attribute__((warn_unused_result));
/* The same of a text. */
bool sim_registration_parse(struct sim_registration *out, const char *text, char **error)
    __attribute__((warn_unused_result));
void sim_registration_free(struct sim_registration *registration);
