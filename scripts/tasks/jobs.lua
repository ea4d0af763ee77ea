-- Goes on with jobs (POST /devices/bulk), a part of each in turn. Every instance does; a part is done by one.

local job = require "lib.job"

local SPAN = 1 -- seconds: one that ran on for long would keep the server from stopping, and old scripts in use

return {
  every = "500ms",
  run = function()
    local ends = now() + SPAN
    repeat until not job.go_on() or now() > ends
  end,
}
