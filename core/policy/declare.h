/* What a policy declares besides its functions: checked, and with every default filled in.
 *
 *   stages        list of {name, share, soak}: shares ascend and the last is 1; default one stage of all
 * devices rate          {per_minute, growth = 1}: offers a minute, times growth with each stage; null: not
 * limited concurrency   updates under way at once; 500 timeout       seconds of silence that fail an update;
 * null: update.timeout of the configuration retry         {max = 2, after = 600}: how often one that failed
 * is tried again, and after how many seconds spread        {tag, concurrency}: most updates under way per
 * value of that tag; null priority      -1000..1000, 0: which rollout has a device that several target from
 * patterns of versions that may be updated; []: all steps         versions to pass through, in order, on the
 * way; [] downgrade     whether an older version may replace a newer one; false max_failure   the share of
 * failures above which the server's own `advance` pauses; 0.05 vanish_after  seconds of silence that make an
 * updated device count as vanished; null: device.offline_after admit, advance  whether the policy has that
 * function
 *
 * Durations are written as seconds or as "500ms", "30s", "15m", "2h", "7d", and come out as seconds. */
#pragma once
#include "base/buffer.h"
#include "lua/problems.h"
#include <lua.h>
#include <stdbool.h>

struct declare_source {
    const char *file, *text; /* as problems show it; to find lines in */
    size_t len;
};

/* Appends the JSON object of the declaration at `index`, and what is wrong with it to `problems`; the object
 * is complete only if nothing is. Raises where memory ends: protected calls only. */
void declare_read(lua_State *L, int index, const struct declare_source *source, struct problems *problems,
                  struct buffer *out);

/* Seconds of a duration at `index`; negative: it is none. */
double declare_duration(lua_State *L, int index);
