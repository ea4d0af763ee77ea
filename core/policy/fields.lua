-- What policies are given, by name: checked by check_policy.lua, offered by editors (GET /policies/fields), described in
-- scripts/README.md. What they declare is in declare.c.

local function field(name, type, text, fields) return { name = name, type = type, text = text, fields = fields } end

local compared = {
  field("devices", "integer", "how many devices that is"),
  field("vanished", "integer", "of them, devices that fell silent"),
  field("crashed", "integer", "of them, devices whose last restart was a crash or a brownout"),
  field("heap", "number", "their free heap in bytes, on average; nil where none reports it"),
}

local ended = {
  field("ended", "integer", "updates that succeeded or failed"),
  field("succeeded", "integer", "updates that ended well"),
  field("failed", "integer", "updates that failed, were rolled back or rejected, timed out, or whose device vanished"),
  field("failure_rate", "number", "failed / ended; 0 where none has ended"),
  field("failure_low", "number", "the failure rate is above this with 95 % confidence"),
  field("failure_high", "number", "the failure rate is below this with 95 % confidence"),
}

return {
  device = {
    field("id", "integer", "the device's number"),
    field("device_code", "string", "the code it was registered with"),
    field("name", "string", "what its owner calls it"),
    field("chip", "string", "esp32, esp32s3, ..."),
    field("firmware_version", "string", "the version it runs"),
    field("tags", "table", "its tags: texts by name; timezone is the zone of ctx.hour and ctx.weekday"),
    field("online", "boolean", "whether it is connected"),
    field("silent_for", "number", "seconds since it was last heard; nil where it never was"),
    field("telemetry", "table", "what it reported last: battery (%), rssi (dBm), heap, uptime, and fields of its own"),
    field("attempts", "integer", "how many offers of this rollout it had before"),
  },
  rollout = {
    field("id", "integer", "the rollout's number"),
    field("name", "string", "what it was called when it was made"),
    field("firmware", "table", "the image that is rolled out", {
      field("id", "integer", "its number"),
      field("version", "string", "its version"),
      field("chip", "string", "the chip it is for"),
      field("project", "string", "its project's name"),
      field("size", "integer", "bytes"),
    }),
    field("stage", "string", "the name of the stage it is in"),
    field("soak", "number", "seconds for which that stage is to be watched"),
    field("params", "table", "what POST /rollouts gave to the policy"),
    field("age", "number", "seconds since it began"),
    field("resumed", "boolean", "whether somebody has resumed it in this stage"),
  },
  stats = {
    field("targeted", "integer", "devices in the stage's share, without those that are excluded"),
    field("offered", "integer", "updates offered since the rollout began"),
    field("under_way", "integer", "updates that have not ended yet"),
    ended[1], ended[2], ended[3],
    field("vanished", "integer", "of those that failed: devices that were updated and then fell silent"),
    ended[4], ended[5], ended[6],
    field("stage_age", "number", "seconds since the stage was entered"),
    field("stage_done", "boolean", "whether all its devices have ended or are skipped"),
    field("since_resume", "table", "the same counts since somebody last resumed the rollout: decide on failures by these",
      ended),
    field("control", "table", "devices that are not updated yet, to compare with", compared),
    field("updated", "table", "devices that were updated", compared),
  },
  ctx = {
    field("now", "number", "Unix seconds"),
    field("hour", "integer", "0 to 23, in the zone of the device's tag timezone, else of params.timezone, else UTC"),
    field("weekday", "integer", "1 is Monday, 7 is Sunday; in the same zone"),
    field("random", "function", "a number from 0 to 1, the same for the same rollout and device"),
  },
  verdicts = {
    admit = { "offer", "hold", "skip" },
    advance = { "hold", "advance", "pause", "abort", "rollback" },
  },
}
