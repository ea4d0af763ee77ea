-- What a target of a rollout may name, for schemas of requests.

return {
  chip = { "string", min = 1, max = 50, optional = true },
  tags = { "map", of = { "string", max = 100 }, max = 32, optional = true },
  versions = { "list", of = { "string", min = 1, max = 50 }, min = 1, max = 100, optional = true },
  device_ids = { "list", of = { "integer", min = 1 }, min = 1, max = 10000, optional = true },
}
