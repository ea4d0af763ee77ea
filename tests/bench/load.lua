-- wrk script; prints the result of a run as one line of JSON, the last of the output.
--   wrk ... -s load.lua URL                          GET URL
--   wrk ... -s load.lua URL -- FIRST_ID COUNT        GET URL .. id, the ids drawn at random
-- The requests are made beforehand, so that the generator costs little while it measures.
local PREPARED = 20000
local requests, threads, at = {}, 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

function init(args)
  local first, count = tonumber(args[1]), tonumber(args[2])
  local prefix = wrk.path
  math.randomseed(seed)
  for i = 1, count and PREPARED or 1 do
    requests[i] = wrk.format("GET", count and prefix .. first + math.random(0, count - 1) or prefix)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
