#include "cli/recorded.h"
#include "base/mem.h"
#include "cli/words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DECISIONS = 50000, SHOWN_IDS = 20 };

static PGresult *query(struct database *database, const char *command, const char *statement, size_t count,
                       const char *const *values)
{
    char *error = NULL;
    PGresult *result = database_run(database, statement, count, values, &error);
    if (result == NULL)
        fprintf(stderr, "otad %s: %s", command, error);
    free(error);
    return result;
}

/* {"rollouts": [...]} of the rows. */
static char *make_request(PGresult *rollouts)
{
    json_t *list = json_array(), *request = json_pack("{s:o}", "rollouts", list);
    for (int i = 0; i < PQntuples(rollouts); i++)
        json_array_append_new(list, json_loads(PQgetvalue(rollouts, i, 0), 0, NULL));
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return text;
}

bool recorded_read(struct recorded *recorded, struct database *database, const char *command,
                   const char *policy, const char *rollout)
{
    char most[16];
    const char *values[] = {policy, rollout, most};
    *recorded = (struct recorded){0};
    snprintf(most, sizeof(most), "%d", MOST_DECISIONS + 1);
    PGresult *rollouts = query(database, command, "replay_rollouts", 2, values);
    if (rollouts == NULL)
        return false;
    if (PQntuples(rollouts) == 0 && rollout != NULL) {
        fprintf(stderr, "otad %s: there is no rollout %s by policy %s\n", command, rollout, policy);
        PQclear(rollouts);
        return false;
    }
    recorded->request = make_request(rollouts);
    PQclear(rollouts);
    recorded->rows = query(database, command, "replay_decisions", 3, values);
    if (recorded->rows == NULL) {
        recorded_free(recorded);
        return false;
    }
    int rows = PQntuples(recorded->rows), first = rows > MOST_DECISIONS;
    recorded->cut = first > 0;
    recorded->count = (size_t)(rows - first);
    recorded->decisions = x_alloc((recorded->count + 1) * sizeof(*recorded->decisions));
    for (int i = first; i < rows; i++)
        recorded->decisions[i - first] =
            (struct policy_text){PQgetvalue(recorded->rows, i, 0), (size_t)PQgetlength(recorded->rows, i, 0)};
    return true;
}

void recorded_free(struct recorded *recorded)
{
    PQclear(recorded->rows);
    free(recorded->decisions);
    free(recorded->request);
    *recorded = (struct recorded){0};
}

bool recorded_revision(struct cli_source *source, struct database *database, const char *command,
                       const char *id)
{
    const char *values[] = {source->name, id};
    PGresult *result = query(database, command, "replay_revision", 2, values);
    int found = result == NULL ? -1 : PQntuples(result);
    if (found == 1) {
        char *path = x_printf("%s@%.12s", source->name, PQgetvalue(result, 0, 0));
        cli_source_text(source, PQgetvalue(result, 0, 1), path);
        free(path);
    } else if (found == 0 && id == NULL) {
        fprintf(stderr, "otad %s: there is no policy %s, neither among the scripts nor in the database\n",
                command, source->name);
    } else if (found == 0) {
        fprintf(stderr, "otad %s: policy %s has no revision %s\n", command, source->name, id);
    } else if (found > 1) {
        fprintf(stderr, "otad %s: several revisions of policy %s begin with %s\n", command, source->name, id);
    }
    PQclear(result);
    return found == 1;
}

/* --- In words ------------------------------------------------------------------------------------------- */

static void print_said(const char *who, json_t *said)
{
    const char *reason = json_string_value(json_object_get(said, "reason"));
    int line = (int)json_integer_value(json_object_get(said, "line"));
    printf("      %-10s %s", who, json_string_value(json_object_get(said, "verdict")));
    if (reason != NULL)
        printf(", %s", reason);
    if (line > 0)
        printf(" (line %d)", line);
    putchar('\n');
}

static void print_ids(json_t *ids, long long all)
{
    json_t *id;
    size_t i;
    json_array_foreach(ids, i, id)
    {
        if (i < SHOWN_IDS)
            printf(" %lld", (long long)json_integer_value(id));
    }
    puts(all > SHOWN_IDS || all > (long long)json_array_size(ids) ? " ..." : "");
}

static void print_changes(json_t *answer, const char *before, const char *after)
{
    json_t *list = json_object_get(answer, "changes"), *one;
    long long left = json_integer_value(json_object_get(answer, "differing"));
    char count[WORDS];
    size_t i;
    json_array_foreach(list, i, one)
    {
        long long all = json_integer_value(json_object_get(one, "count")),
                  stages = json_integer_value(json_object_get(one, "stages"));
        left -= all;
        printf("\n  %s", words_count(count, all));
        if (stages > 0)
            printf(" on %s", stages == 1 ? "a stage" : "stages");
        if (stages < all) {
            printf("%s on %s", stages > 0 ? " and" : "", all - stages == 1 ? "device" : "devices");
            print_ids(json_object_get(one, "device_ids"), all - stages);
        } else {
            putchar('\n');
        }
        print_said(before, json_object_get(one, "was"));
        print_said(after, json_object_get(one, "is"));
    }
    if (left > 0)
        printf("\n  ... and %s more, of other kinds\n", words_count(count, left));
}

static void print_devices(json_t *answer, const char *name, const char *words)
{
    json_t *devices = json_object_get(answer, name);
    long long all = json_integer_value(json_object_get(devices, "count"));
    char count[WORDS];
    if (all == 0)
        return;
    printf("\n%s %s %s:", words_count(count, all), all == 1 ? "device" : "devices", words);
    print_ids(json_object_get(devices, "device_ids"), all);
}

void recorded_print(const struct recorded *recorded, json_t *answer, const char *before, const char *after)
{
    char all[WORDS], same[WORDS], reworded[WORDS], differing[WORDS];
    long long failed = json_integer_value(json_object_get(answer, "failed")),
              other = json_integer_value(json_object_get(answer, "reworded"));
    if (recorded->count == 0) {
        puts("No decision was recorded that it could be asked again.");
        return;
    }
    printf("%s%s recorded decisions: %s the same", recorded->cut ? "The newest " : "",
           words_count(all, (long long)recorded->count),
           words_count(same, json_integer_value(json_object_get(answer, "same"))));
    if (other > 0)
        printf(", %s for another reason", words_count(reworded, other));
    printf(", %s differ\n", words_count(differing, json_integer_value(json_object_get(answer, "differing"))));
    if (failed > 0)
        printf("%s calls failed, which holds\n", words_count(all, failed));
    print_changes(answer, before, after);
    print_devices(answer, "now_offered", "would now be offered the update");
    print_devices(answer, "no_longer_offered", "would no longer be offered it");
}
