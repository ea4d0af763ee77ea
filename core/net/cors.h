/* CORS: pages of the origins that http.origins lists may use the API, with the refresh cookie. Browsers keep
 * answers from all others. Worker thread only. */
#pragma once
#include "net/http.h"

/* To every answer, also those of libh2o itself. `origins` as in net/origin.h; empty: adds nothing. */
void cors_headers(h2o_req_t *req, const char *origins);
/* Answers a browser's question of what a page of a listed origin may ask for; false: it is none. */
bool cors_preflight(struct http_request *request, const char *origins);
