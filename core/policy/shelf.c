#include "policy/shelf.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

static const char policies_folder[] = "policies/", library_folder[] = "lib/policy/";

static const char *below(const struct bundle_file *file, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(file->name, folder, len) == 0 && !bundle_is_test(file) ? file->name + len : NULL;
}

static struct shelf gather(const struct bundle *bundle, bool policies)
{
    struct shelf shelf = {.libraries = x_alloc((bundle->count + 1) * sizeof(*shelf.libraries))};
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        if (below(file, library_folder) != NULL || (policies && below(file, policies_folder) != NULL))
            shelf.libraries[shelf.library_count++] =
                (struct policy_library){file->name, {file->text, file->len}};
    }
    return shelf;
}

struct shelf shelf_of(const struct bundle *bundle)
{
    return gather(bundle, false);
}

struct shelf shelf_with_policies(const struct bundle *bundle)
{
    return gather(bundle, true);
}

void shelf_free(struct shelf *shelf)
{
    free(shelf->libraries);
    *shelf = (struct shelf){0};
}

bool shelf_policy(const struct shelf *shelf, const struct bundle_file *file, struct policy_source *source)
{
    const char *name = below(file, policies_folder);
    if (name == NULL)
        return false;
    *source = (struct policy_source){name, {file->text, file->len}, shelf->libraries, shelf->library_count};
    return true;
}

/* Policies call their files scripts/...; the directory may have another name. */
static void show_path(struct problem *problem, const struct bundle *bundle)
{
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_file *file = &bundle->files[i];
        size_t len = strlen(file->name);
        if (strncmp(problem->file, "scripts/", 8) == 0 && strncmp(problem->file + 8, file->name, len) == 0 &&
            strcmp(problem->file + 8 + len, ".lua") == 0) {
            free(problem->file);
            problem->file = x_strdup(file->path);
            return;
        }
    }
}

void shelf_check(const struct bundle *bundle, struct problems *problems)
{
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct shelf shelf = shelf_of(bundle);
    struct policy_source source;
    for (size_t i = 0; i < bundle->count; i++) {
        size_t before = problems->count;
        if (!shelf_policy(&shelf, &bundle->files[i], &source))
            continue;
        policy_free(policy_load(&policies, &source, problems));
        for (size_t j = before; j < problems->count; j++)
            show_path(&problems->list[j], bundle);
    }
    shelf_free(&shelf);
    zones_free(policies.zones);
}
