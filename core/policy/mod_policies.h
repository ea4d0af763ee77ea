/* policies.*: what scripts ask the processes of policies. */
#pragma once
#include "base/offload.h"
#include "policy/host.h"
#include <lua.h>

/* Of the server; services.policies. Three, so that neither those who check nor those who simulate or test
 * keep rollouts waiting. */
struct policy_hosts {
    struct policy_desk {
        struct host *host;
        struct offload *queue; /* one thread, which waits for the host */
    } rollouts, people, simulations;
};

struct policy_hosts *policy_hosts_new(void);
void policy_hosts_stop(struct policy_hosts *hosts); /* what is asked ends, and nothing more is taken */
void policy_hosts_free(struct policy_hosts *hosts);

/* services.open_policies */
void mod_policies_open(lua_State *L);
