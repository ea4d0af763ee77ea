/* One thread that runs any number of simulated devices: timers, HTTP by curl's multi interface, and a mailbox
 * into which Paho's threads post what happened on MQTT connections. All but sim_loop_post belong to that
 * thread. tests/fleet has a loop of its own, without Paho, for thousands of devices. */
#pragma once
#include "sim_timers.h"
#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_loop;
struct sim_link;

enum sim_news { SIM_CONNECTED, SIM_FAILED, SIM_SUBSCRIBED, SIM_LOST, SIM_MESSAGE, SIM_PUBLISHED };

struct sim_loop *sim_loop_new(void); /* NULL: out of memory */
void sim_loop_free(struct sim_loop *loop);

/* Handles what has happened and waits for at most max_ms for more. */
void sim_loop_turn(struct sim_loop *loop, int max_ms);
uint64_t sim_loop_now(void); /* ms, monotonic */

/* --- for devices, links and fetches --- */
struct sim_timers *sim_loop_timers(struct sim_loop *loop);
CURLM *sim_loop_curl(struct sim_loop *loop); /* for the next transfer */
/* From any thread; the payload is copied. */
void sim_loop_post(struct sim_loop *loop, struct sim_link *link, enum sim_news news, int token,
                   const void *payload, size_t len);
void sim_loop_forget(struct sim_loop *loop, struct sim_link *link); /* drops what it has posted */
