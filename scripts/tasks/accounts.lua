-- Forgets what no longer matters: sessions that ended more than a day ago, tickets nobody came with, failed logins and
-- registrations outside their windows, jobs that ended more than a month ago.

local DAY = 86400

return {
  every = "1h",
  run = function()
    db.run("sessions_forget", DAY)
    db.run("tickets_forget")
    db.run("jobs_forget", 30 * DAY)
    db.run("login_failures_forget", math.max(config["auth.failure_window"], config["auth.registration_window"]))
  end,
}
