/* Policies of any text: what loads is asked about a device and a stage, twice, as one that is hostile would
 * be. A failed call holds; the same question has the same answer, unless time or memory ended it; reasons are
 * clean text. Patterns are left out: what computes without end in C is ended from outside (policy/host),
 * which cannot be here. */
#include "base/flatjson.h"
#include "base/mem.h"
#include "policy/policy.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

static const struct policy_text device =
    TEXT("{\"id\":7,\"device_code\":\"x\",\"name\":null,\"chip\":\"esp32\",\"firmware_version\":\"1.0\","
         "\"tags\":{\"site\":\"a\","
         "\"timezone\":\"Europe/"
         "Berlin\"},\"online\":true,\"silent_for\":3,\"telemetry\":{\"battery\":55,\"rssi\":-61.5},"
         "\"attempts\":1}");
static const struct policy_text stats = TEXT(
    "{\"targeted\":100,\"offered\":50,\"under_way\":5,\"ended\":45,\"succeeded\":40,\"failed\":5,"
    "\"vanished\":1,"
    "\"failure_rate\":0.11,\"failure_low\":0.04,\"failure_high\":0.23,\"stage_age\":3600,\"stage_done\":true,"
    "\"control\":{\"devices\":50,\"vanished\":0}}");
static const struct policy_moment moment = {
    .rollout = TEXT(
        "{\"id\":3,\"name\":\"r\",\"firmware\":{\"version\":\"2.0\",\"chip\":\"esp32\",\"size\":1000000},"
        "\"stage\":\"all\",\"soak\":60,\"params\":{\"limit\":5},\"age\":7200}"),
    .now = 1767225600};

static void must_be_sound(const struct policy_verdict *verdict, bool is_admit)
{
    bool mine = verdict->answer == POLICY_HOLD ||
                (is_admit ? verdict->answer == POLICY_OFFER || verdict->answer == POLICY_SKIP
                          : verdict->answer >= POLICY_ADVANCE && verdict->answer <= POLICY_DEFAULT);
    if (!mine || (verdict->failed && (verdict->answer != POLICY_HOLD || *verdict->reason == '\0')) ||
        verdict->line < 0 || !flatjson_utf8(verdict->reason, strlen(verdict->reason)))
        abort();
    for (const char *c = verdict->reason; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            abort();
    }
}

/* Time and memory end a call at one place or another. */
static bool was_ended(const struct policy_verdict *verdict)
{
    return strstr(verdict->reason, "longer than 10 ms") != NULL || strstr(verdict->reason, "16 MiB") != NULL;
}

static void ask(struct policy *policy, bool is_admit)
{
    struct policy_verdict first, second;
    for (int i = 0; i < 2; i++)
        (is_admit ? policy_admit : policy_advance)(policy, &moment, is_admit ? device : stats,
                                                   i == 0 ? &first : &second);
    must_be_sound(&first, is_admit);
    must_be_sound(&second, is_admit);
    if (!was_ended(&first) && !was_ended(&second) && memcmp(&first, &second, sizeof(first)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policies policies;
    static const struct policy_library library = {"lib/policy/x",
                                                  TEXT("return { say = function() return 'hold', 'x' end }")};
    static const char *const patterns[] = {"find", "match", "gsub"};
    struct problems problems = {0};
    char *text = x_memdup(data, size);
    bool endless = false;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        endless = endless || memmem(text, size, patterns[i], strlen(patterns[i])) != NULL;
    if (policies.zones == NULL)
        policies.zones = zones_new(zones_load_file, NULL);
    struct policy_source source = {"fuzz", {text, size}, &library, 1};
    struct policy *policy = endless ? NULL : policy_load(&policies, &source, &problems);
    if (!endless && (policy == NULL) != (problems.count != 0))
        abort();
    for (size_t i = 0; i < problems.count; i++) {
        if (problems.list[i].line < 0 || *problems.list[i].message == '\0')
            abort();
    }
    if (policy != NULL) {
        ask(policy, true);
        ask(policy, false);
    }
    policy_free(policy);
    problems_free(&problems);
    free(text);
    return 0;
}
