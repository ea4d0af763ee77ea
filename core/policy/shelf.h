/* Policies and their library among the scripts of a bundle: scripts/policies/NAME.lua and
 * scripts/lib/policy/. */
#pragma once
#include "lua/bundle.h"
#include "lua/problems.h"
#include "policy/policy.h"

struct shelf { /* borrows the texts: the bundle must outlive it */
    struct policy_library *libraries;
    size_t library_count;
};

struct shelf shelf_of(const struct bundle *bundle);
/* With the policies themselves, too: for tests, which load them by name. */
struct shelf shelf_with_policies(const struct bundle *bundle);
void shelf_free(struct shelf *shelf);

/* Whether the file is a policy; *source is then how to load it. Not of tests. */
bool shelf_policy(const struct shelf *shelf, const struct bundle_file *file, struct policy_source *source);

/* Loads every policy of the bundle, for its problems. */
void shelf_check(const struct bundle *bundle, struct problems *problems);
