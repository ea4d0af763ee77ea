/* What reaches the process of policies, and comes back from it. The first byte chooses: a device's JSON,
 * asked about twice with one answer; a compiled time zone; a source to find lines in; a stream of frames,
 * whose verdicts must survive being written again; a duration in a declaration. */
#include "base/mem.h"
#include "policy/frame.h"
#include "policy/lines.h"
#include "policy/policy.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char walking[] =
    "local function walk(value, depth)\n"
    "  if type(value) ~= 'table' then return tostring(value) end\n"
    "  local out = {}\n"
    "  for k, v in pairs(value) do out[#out + 1] = k .. '=' .. walk(v, depth + 1) end\n"
    "  return table.concat(out, ',') end\n"
    "return { admit = function(d, r, ctx) return 'hold', walk(d, 0) .. ctx.random() end }";

static void ask(const char *text, size_t len)
{
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    struct policy_source source = {.name = "fuzz", .source = {walking, sizeof(walking) - 1}};
    struct policy_moment moment = {.rollout = {"{}", 2}};
    struct problems problems = {0};
    struct policy_verdict first, second;
    struct policy *policy = policy_load(&policies, &source, &problems);
    policy_admit(policy, &moment, (struct policy_text){text, len}, &first);
    policy_admit(policy, &moment, (struct policy_text){text, len}, &second);
    if (first.answer != POLICY_HOLD || memcmp(&first, &second, sizeof(first)) != 0)
        abort();
    policy_free(policy);
    zones_free(policies.zones);
}

static void declare(const char *text, size_t len)
{
    struct policies policies = {.zones = zones_new(zones_load_file, NULL)};
    char *whole = x_printf("return { timeout = [==[%s]==] }", text);
    struct policy_source source = {.name = "fuzz", .source = {whole, strlen(whole)}};
    struct problems problems = {0};
    struct policy *policy = policy_load(&policies, &source, &problems);
    if ((policy == NULL) != (problems.count != 0))
        abort();
    policy_free(policy);
    problems_free(&problems);
    zones_free(policies.zones);
    free(whole);
}

static void read_frames(const char *text, size_t len)
{
    enum frame_kind kind;
    struct frame_reader fields;
    for (size_t n; (n = frame_next(text, len, &kind, &fields)) != 0 && n != SIZE_MAX; text += n, len -= n) {
        struct frame_reader again = fields;
        struct policy_source source = frame_take_source(&again);
        free((void *)source.libraries);
        again = fields;
        frame_take_moment(&again);
        again = fields; /* a time zone that is asked for: no path leads out of where they are */
        struct policy_text name = frame_take_text(&again);
        if (zones_name(name.text) && (name.text[0] == '/' || strstr(name.text, "..") != NULL))
            abort();
        struct policy_verdict verdict = frame_take_verdict(&fields);
        if (fields.bad)
            continue;
        struct buffer out = {0};
        frame_put_verdict(&out, &verdict);
        struct frame_reader back = {out.data, out.data + out.len, false};
        struct policy_verdict same = frame_take_verdict(&back);
        if (back.bad || memcmp(&same, &verdict, sizeof(same)) != 0)
            abort();
        buffer_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = x_memdup(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        ask(text, size - 1);
        break;
    case 1: {
        struct zone *zone = zone_parse(text, size - 1);
        if (zone != NULL)
            zone_offset(zone, 1767225600);
        zone_free(zone);
        break;
    }
    case 2:
        if (lines_find(text, size - 1, "stages.2.soak") < 0)
            abort();
        break;
    case 3:
        read_frames(text, size - 1);
        break;
    case 4:
        declare(text, size - 1);
        break;
    }
    free(text);
    return 0;
}
