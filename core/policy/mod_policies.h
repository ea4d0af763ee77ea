/* policies.*: what scripts ask the processes of policies. */
#pragma once
#include "base/offload.h"
#include "policy/host.h"
#include <lua.h>

struct policy_hosts { /* of the process; services.policies */
    struct host *rollouts, *people, *simulations;
    struct offload *pool; /* threads that wait for the first two */
    struct offload *slow; /* one that waits for the third */
};

struct policy_hosts *policy_hosts_new(void);
void policy_hosts_free(struct policy_hosts *hosts);

/* services.open_policies */
void mod_policies_open(lua_State *L);
