/* One rollout policy: an operator's Lua file in a state of its own, asked who is updated and when.
 *
 * A policy is pure. Each call finds what the file and the library files that it requires left behind when
 * they ran (policy/pristine, else they run again), so that neither globals (there are none), nor upvalues,
 * nor tables outlive a call: the same question has the same answer, on every instance, in every order. A call
 * ends after 10 ms of processor time or with 16 MiB of memory. Whatever goes wrong in one, it holds: `failed`
 * is set and the reason says what, in words.
 *
 * One thread at a time. What computes without end in C (pattern matching above all) cannot be ended from
 * within a process: the server asks through policy/host, whose process is ended then. */
#pragma once
#include "lua/problems.h"
#include "policy/zone.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POLICY_LARGEST = 64 * 1024,       /* bytes of a source, and of a library file */
    POLICY_MEMORY = 16 * 1024 * 1024, /* bytes a call may need */
    POLICY_TIME = 10,                 /* ms of processor time a call may take */
    POLICY_REASON = 500,              /* bytes of a reason */
    POLICY_NAME = 32                  /* bytes of a name, of letters, digits, - and _ */
};

enum policy_answer {
    POLICY_HOLD,
    POLICY_OFFER,
    POLICY_SKIP,
    POLICY_ADVANCE,
    POLICY_PAUSE,
    POLICY_ABORT,
    POLICY_ROLLBACK,
    POLICY_DEFAULT, /* the policy has no `advance`: the server decides */
    POLICY_ANSWERS
};

struct policy_verdict {
    enum policy_answer answer;
    bool failed;                    /* a hold because something went wrong */
    int line;                       /* that returned it, or where it went wrong; 0: not known */
    double again;                   /* of a hold: seconds after which to ask again; 0: not said */
    char file[64];                  /* of that line, where it is not the policy's own; else "" */
    char reason[POLICY_REASON + 1]; /* UTF-8 without control characters; "" if none was given */
};

struct policy_text {
    const char *text;
    size_t len;
};

struct policy_library {
    const char *name; /* "lib/policy/waves", for require "lib.policy.waves" */
    struct policy_text source;
};

struct policy_source {
    const char *name;
    struct policy_text source;
    const struct policy_library *libraries;
    size_t library_count;
};

/* What does not change while a rollout's devices are asked. Texts stay the caller's; the text behind each is
 * NUL-terminated. */
struct policy_moment {
    struct policy_text rollout; /* JSON */
    double now;                 /* Unix seconds */
    uint64_t seed;              /* of ctx.random(), besides the ids of rollout and device; 0 in service */
};

/* What the policies of a process share. `calls` counts entries into and returns from scripts: odd while one
 * runs, and then the name of that call, for whoever watches. */
struct policies {
    struct zones *zones;
    _Atomic uint64_t calls;
    /* For tests; NULL in service. A line of a file ("scripts/policies/canary.lua") is about to run. */
    void (*on_line)(void *arg, const char *file, int line);
    void *arg;
};

struct policy;

/* NULL, and at least one problem, for what is not a sound policy. Copies what it keeps. */
struct policy *policy_load(struct policies *policies, const struct policy_source *source,
                           struct problems *problems) __attribute__((warn_unused_result));
void policy_free(struct policy *policy);
const char *policy_declaration(const struct policy *policy); /* JSON: policy/declare.h */
size_t policy_memory(const struct policy *policy);           /* bytes it holds between calls */

/* `device` and `stats` are JSON objects, NUL-terminated behind their length. They always give a verdict.
 * ctx.hour and ctx.weekday (1 is Monday) are those of the zone in the device's tag `timezone`, else in the
 * rollout's params.timezone, else UTC. A tag that names no zone holds the device without `failed`: it is not
 * the policy's fault. */
void policy_admit(struct policy *policy, const struct policy_moment *moment, struct policy_text device,
                  struct policy_verdict *verdict);
void policy_advance(struct policy *policy, const struct policy_moment *moment, struct policy_text stats,
                    struct policy_verdict *verdict);

const char *policy_answer_name(enum policy_answer answer); /* "hold", ...; "default" */
/* A failed hold with that reason, which is cut and mended as scripts' own are. */
void policy_fail(struct policy_verdict *verdict, int line, const char *reason);
