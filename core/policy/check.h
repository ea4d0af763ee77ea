/* What can be said of a Lua source without running it: syntax, globals that its sandbox does not have, locals
 * that nobody reads, and for policies unknown fields, verdicts that do not exist, ways without a verdict, and
 * state that does not outlive a call (check.lua, check_policy.lua).
 *
 * The parser is luacheck's (Expat licence, Debian package lua-check), a Lua library read once from files: so
 * that it works in the process of policies, which has none. Sources are hostile: a check has bounds of memory
 * and time, and ends with a problem that says so. One thread at a time. */
#pragma once
#include "lua/problems.h"
#include "policy/policy.h"
#include <lua.h>

enum {
    CHECK_MEMORY = 128 * 1024 * 1024, /* bytes */
    CHECK_TIME = 1000                 /* ms of processor time; a common source takes 1 to 10 */
};

enum check_kind { CHECK_POLICY, CHECK_LIBRARY, CHECK_SCRIPT, CHECK_TEST, CHECK_KINDS };

struct checker;

/* Reads the parser from `directory`; NULL: where the package puts it. */
struct checker *checker_new(const char *directory);
void checker_free(struct checker *checker);

/* Why sources are only checked for syntax: in words, what is missing and what to install. NULL: all is there.
 */
const char *checker_missing(const struct checker *checker);

/* Takes the globals of a state of scripts for those that CHECK_SCRIPT (or CHECK_TEST) may use. Policies' and
 * their library's are known from the start; those of a kind not told are not checked. */
void checker_learn(struct checker *checker, enum check_kind kind, lua_State *L);

/* Adds what is wrong with the source; `file` is its name in problems. */
void checker_run(struct checker *checker, const char *file, enum check_kind kind, struct policy_text source,
                 struct problems *problems);

/* policy_load() and checker_run() together, sorted and without repetitions. Whether the policy is sound, that
 * is loads: what else is wrong may concern only some calls. */
bool checker_policy(struct checker *checker, struct policies *policies, const struct policy_source *source,
                    struct problems *problems);

/* The lines on which statements begin, ascending, for coverage; the caller frees *lines. */
size_t checker_lines(struct checker *checker, struct policy_text source, int **lines);
