/* The device client of otad: a state machine without I/O. The port tells it what happened (otad_client_*
 * below), then does what otad_client_poll asks, again and again until the answer is OTAD_WAIT:
 *
 *   for (;;) {
 *       while (otad_client_poll(&client, now, &action), action.act != OTAD_WAIT) perform(&action);
 *       wait up to action.wait_ms for the next event;
 *   }
 *
 * An action of the second kind below is answered before anything else is told to the client.
 *
 * All state is in the caller's struct otad_client (otad_state.h): no allocation, no globals, no clock of its
 * own. One thread at a time per client. `now` is milliseconds of a clock that never goes back, starting
 * anywhere. */
#pragma once
#include "otad_state.h"

enum otad_act {
    OTAD_WAIT,    /* nothing to do for wait_ms, unless something happens */
    OTAD_CONNECT, /* open the MQTT connection anew, with a will (otad_client_will), giving up what there is of
                     an earlier one; ends in connected/disconnected */
    OTAD_STATUS, /* write it (otad_client_status), publish it with QoS 1, answer with otad_client_published */
    OTAD_LOG,    /* text, level: for the console and the logs topic */
    OTAD_GET,    /* fetch text (a URL) from byte offset on (Range if > 0): response, data..., closed */
    OTAD_HANGUP, /* give up the fetch; none of its events may follow */
    OTAD_ABANDON,  /* close the slot opened by OTAD_BEGIN without finishing it */
    OTAD_SELFTEST, /* run the application's self-test; answer with otad_client_selftest, at any time */
    OTAD_REBOOT,   /* restart; does not return to the client */
    /* These are answered with otad_client_done(code), 0 or an error: */
    OTAD_SAVE,  /* keep data[len] as copy 0 or 1 of the record, durable before the answer */
    OTAD_BEGIN, /* open the other slot for `size` bytes; bytes before `offset` are kept, the rest is erased */
    OTAD_WRITE, /* data[len] at offset of the open slot */
    OTAD_READ,  /* len bytes at offset of the other slot into buffer */
    OTAD_END,   /* close the open slot and validate what it holds */
    OTAD_SET_BOOT, /* the next boot is from the other slot */
    OTAD_CONFIRM,  /* the running image is good: no more rollback */
    OTAD_ROLLBACK, /* mark the running image bad and restart from the other; answers only if that failed */
};

struct otad_action {
    enum otad_act act;
    uint32_t wait_ms, offset, size, ticket; /* ticket: of a status, for otad_client_published */
    uint8_t copy;
    const char *level, *text;
    const void *data; /* valid until the answer */
    void *buffer;
    size_t len;
};

/* Starts in the state the boot left. Config is copied; boot's pointers are read during the call only. */
void otad_client_init(struct otad_client *client, const struct otad_config *config,
                      const struct otad_boot *boot, uint64_t now);
void otad_client_poll(struct otad_client *client, uint64_t now, struct otad_action *action);
/* The answer to the action that was asked last. Codes: 0, an esp_err_t, or any other number of the port. */
void otad_client_done(struct otad_client *client, uint64_t now, int32_t code);

/* MQTT: connected means subscribed to the ota topic as well. */
void otad_client_connected(struct otad_client *client, uint64_t now);
void otad_client_disconnected(struct otad_client *client, uint64_t now);
void otad_client_published(struct otad_client *client, uint64_t now, uint32_t ticket);
/* A message on device/{id}/ota; empty: the offer is cleared. */
void otad_client_offer(struct otad_client *client, uint64_t now, const void *message, size_t len);

/* HTTP: start is the first byte's place as Content-Range says it (206) and total the whole length, or -1. */
void otad_client_response(struct otad_client *client, uint64_t now, int status, int64_t start, int64_t total);
/* Body bytes, which must stay until the OTAD_WRITE that may follow was answered: poll before the next piece.
 */
void otad_client_data(struct otad_client *client, uint64_t now, const void *data, size_t len);
/* The fetch is over: why, or NULL for an orderly end. */
void otad_client_closed(struct otad_client *client, uint64_t now, const char *why);

void otad_client_selftest(struct otad_client *client, uint64_t now,
                          const char *failure);                                    /* NULL: all is well */
void otad_client_clock(struct otad_client *client, uint64_t now, uint64_t unix_s); /* the time became known */
/* Publishes a status soon: something the application tells has changed. */
void otad_client_touch(struct otad_client *client, uint64_t now);

/* JSON texts; false: out is too small (1 KiB holds any status without metrics). */
bool otad_client_status(struct otad_client *client, uint64_t now, const struct otad_vitals *vitals, char *out,
                        size_t size) __attribute__((warn_unused_result));
bool otad_client_will(const struct otad_client *client, char *out, size_t size)
    __attribute__((warn_unused_result));
bool otad_client_log(const struct otad_client *client, uint64_t now, const char *level, const char *message,
                     char *out, size_t size) __attribute__((warn_unused_result));

const char *otad_state_name(enum otad_state state);
/* What the running image is called: as its offer named it, else as its descriptor does. */
const char *otad_client_version(const struct otad_client *client);
