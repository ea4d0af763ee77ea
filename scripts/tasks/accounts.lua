-- Forgets what no longer matters: sessions that ended more than a day ago, failed logins outside the window.

local DAY = 86400

return {
  every = "1h",
  run = function()
    db.run("sessions_forget", DAY)
    db.run("login_failures_forget", config["auth.failure_window"])
  end,
}
