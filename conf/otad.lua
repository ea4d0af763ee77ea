-- otad's configuration. The file is data: it returns tables of texts, numbers and booleans; nothing else can be called.
-- A key `section.name` is overridden by the variable OTAD_SECTION_NAME, and OTAD_SECTION_NAME_FILE names a file that
-- holds the value. `build/otad serve --help` lists every key with what it means and its default; what stands here is
-- what an installation is likely to change. Durations: "500ms", "30s", "15m", "2h", "7d". Sizes: "64KiB", "16MiB".
-- A path that begins with var/ is under the directory of the key `var` (OTAD_VAR). Relative `var`, `scripts`, `sql` and
-- `console.dir` are in the project: the working directory where that is it, else the tree of this file, else that of otad's binary.

return {
  -- What devices and browsers see of this server; part of every download link. Default: the HTTP port on localhost.
  -- public_url = "https://ota.example.org",

  http = {
    address = "0.0.0.0",
    port = 8080,            -- HTTP/1.1 and h2c
    max_connections = 4096,
    max_body = "1MiB",      -- of a request; firmware.max_size holds for uploads
    body_budget = "128MiB", -- of all requests under way together
    -- Other origins whose pages may use the API and the live feed (/ws), such as a console hosted elsewhere; with
    -- auth.cookie_samesite = "None" they can keep their sessions by cookie, too. Those of this host may.
    -- origins = "https://console.example.org",
    -- Behind reverse proxies: theirs are the only X-Forwarded-For that is believed, and the client is the last address
    -- in it that is not one of these. Without, limits on logins take all clients of a proxy for one.
    -- trusted_proxies = "127.0.0.1, ::1, 10.0.0.0/8",
  },

  https = {
    port = 8443,            -- 0: no HTTPS listener
    -- certificate = "/etc/otad/fullchain.pem",
    -- key = "/etc/otad/privkey.pem",
  },

  -- PostgreSQL, Redis and Mosquitto: conf/up makes private ones and tells otad where they are. For others:
  -- database = { url = "postgresql://otad@db.example.org/otad?sslmode=verify-full&passfile=/etc/otad/pgpass" },
  -- redis = { url = "redis://cache.example.org:6379" },       -- with a password: OTAD_REDIS_URL_FILE
  -- mqtt = {
  --   url = "mqtts://mqtt.example.org:8883",
  --   ca = "/etc/otad/ca.pem",                                -- given to devices at registration, too
  --   public_host = "mqtt.example.org",                       -- the broker as devices see it
  --   public_port = 8883,
  -- },                                                        -- its password: OTAD_MQTT_PASSWORD_FILE

  auth = {
    access_ttl = "15m",
    refresh_ttl = "30d",
    max_failures = 5,       -- of an account or an address within failure_window, then 429
    failure_window = "15m",
    max_registrations = 30, -- that an address may ask for within registration_window, then 429
    registration_window = "1h",
    -- The first signs, all are accepted: put a new one in front to rotate.
    jwt_keys = "var/keys/jwt.key",
  },

  -- Signs what devices are told. It is on the server, so it is not what firmware is trusted by: that is release.keys.
  manifest = { key = "var/keys/manifest.key" },

  -- Public keys (.pub of `otad keygen`) whose signature makes firmware trusted. Keep the private ones elsewhere.
  -- release = { keys = "/etc/otad/release-2026.pub" },

  firmware = {
    auto_sign = false,      -- conf/up turns it on: uploads are signed by a development key
    max_size = "16MiB",
    store = "var/firmware",
  },

  device = { offline_after = "120s" },

  feed = {                  -- WebSockets of GET /ws
    max_connections = 2048, -- they count in http.max_connections, too
    max_per_account = 100,
    memory = "32MiB",       -- of events that wait for slow readers
  },

  update = {
    offer_ttl = "1h",       -- of a signed offer; renewed while its update is under way
    timeout = "15m",        -- silence after which an update that began has timed out
    offer_timeout = "7d",   -- an offer waits this long for its device
  },

  policies = { save = true }, -- those put in force over HTTP are written to scripts/policies, too

  telemetry = { keep_days = 30 },
  logs = { keep_days = 30 }, -- and what the timeline of a device has
  decisions = { keep_days = 90 }, -- of policies, on rollouts: what `explain` and `replay` know
}
