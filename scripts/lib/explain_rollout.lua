-- Says in words how a rollout stands: what it does, what it waits for, by which rule, and what an operator can do.

local count = require "lib.count"
local rule = require "lib.rule"
local when = require "lib.when"

local UNDER_WAY = { "pending", "offered", "downloading", "installing" }
local ENDED = { "succeeded", "vanished", "failed", "rolled_back", "rejected", "timed_out", "cancelled", "skipped" }
local CAN = {
  running = "It can be paused.",
  paused = "It can be resumed, rolled back, which brings the updated devices back, or aborted, which leaves them as they are.",
  rolling_back = "That can be aborted.",
  completed = "It can be rolled back, which brings the updated devices back.",
  aborted = "It can be rolled back, which brings the updated devices back.",
}

local function sum(counts, states)
  local n, parts = 0, {}
  for _, state in ipairs(states) do
    if counts[state] then
      n = n + counts[state]
      parts[#parts + 1] = ("%s %s"):format(count(counts[state]), (state:gsub("_", " ")))
    end
  end
  return n, parts
end

local function progress(standing)
  local counts = standing.counts or {}
  local ended, how = sum(counts, ENDED)
  local under_way, waiting = sum(counts, UNDER_WAY), (counts.waiting or 0) + (counts.held or 0)
  return ("Of its devices so far, %s are done%s, %s under way, and %s wait%s."):format(count(ended),
    #how > 0 and " (" .. table.concat(how, ", ") .. ")" or "", count(under_way), count(waiting),
    counts.held and (", %s of them held back by the policy"):format(count(counts.held)) or "")
end

local function verdict(row, standing)
  standing.policy = row.policy
  local by = standing.line and rule(standing) or "the rule of the server, for the policy has no `advance`"
  return ('The last verdict on the stage is "%s", by %s.%s'):format(standing.verdict, by,
    standing.asked > 1 and (" It was given %d times in a row."):format(standing.asked) or "")
end

local SHOWN = json.record("rollout_id", "name", "state", "explanation")

-- row: of rollout_by_id. Also returns how it stands alone, to be read beside its name and state.
return function(row)
  local standing = db.one("rollout_standing", row.id)
  local stage = row.plan.stages[row.stage + 1]
  local words = {}
  local function say(text, ...) words[#words + 1] = text and text:format(...) end
  local name = ("Rollout %d (%s) to version %s is %s%s."):format(row.id, row.name, row.firmware.version,
    (row.state:gsub("_", " ")), row.state ~= "running" and row.reason and ": " .. row.reason or "")
  if stage then
    say('It is in stage "%s", %d of %d (%g %% of the devices), since %s.', stage.name, row.stage + 1, #row.plan.stages,
      stage.share * 100, when.words(row.stage_entered_at))
    say("%s", progress(standing))
    say(standing.verdict and "%s", standing.verdict and verdict(row, standing))
    if row.state == "running" and standing.soaking then
      say("The stage is watched until %s.", when.words(standing.soaked_at))
    end
  elseif row.state == "running" then
    say(standing.early and "It begins at %s." or "It is about to begin.", when.words(row.starts_at))
  end
  local standing_words = table.concat(words, " ")
  local all = { name, CAN[row.state] }
  if standing_words ~= "" then table.insert(all, 2, standing_words) end
  return SHOWN { rollout_id = row.id, name = row.name, state = row.state, explanation = table.concat(all, " ") },
    standing_words
end
