-- Which devices a list, a count or a job is about: what requests may ask for, and the filter that devices_found() of the
-- database takes.

local device = require "lib.device"
local update = require "lib.update"

local filter = {}

local MOST_SECONDS = 1000000000
local MOST_ID = 2147483647

-- The declaration, of a query as of a body.
filter.fields = {
  chip = { "string", max = 50, optional = true },
  tag = {
    "string", max = 250, optional = true,
    check = function(text) return not device.read_tag(text) and "must be name:value" or nil end,
  },
  online = { "boolean", optional = true },
  version = { "string", max = 50, optional = true },
  q = { "string", min = 1, max = 100, optional = true },
  silent_for = { "integer", min = 0, max = MOST_SECONDS, optional = true },
  heard_within = { "integer", min = 0, max = MOST_SECONDS, optional = true },
  battery_below = { "number", min = 0, max = 101, optional = true },
  update = { "string", one_of = { "under_way", "failed" }, optional = true },
  firmware_id = { "integer", min = 1, optional = true },
}

-- The filter, or nil where nothing is asked for. image: the row of update_firmware of `firmware_id`.
function filter.make(asked, image)
  local made = {
    chip = asked.chip, tags = asked.tag and device.read_tag(asked.tag), version = asked.version,
    silent_for = asked.silent_for, heard_within = asked.heard_within, battery_below = asked.battery_below,
    update = asked.update,
  }
  if asked.online ~= nil then made.status = asked.online and "online" or "offline" end
  if asked.q then
    made.words = "%" .. asked.q:gsub("[\\%%_]", "\\%0") .. "%"
    local id = asked.q:find("^[1-9]%d*$") and #asked.q <= 10 and tonumber(asked.q)
    if id and id <= MOST_ID then made.id = id end
  end
  if image then
    local known = update.known_elf(image.elf_sha256)
    made.image = { elf_sha256 = known and image.elf_sha256 or nil, version = image.version, chip = image.chip }
  end
  return next(made) and made
end

-- The same for a request; ends with 422 where there is no such firmware. prefix: of the field's name in problems.
function filter.read(asked, prefix)
  local image
  if asked.firmware_id then
    image = db.all("update_firmware", asked.firmware_id, nil, nil)[1]
    if not image then
      fail(422, "There is no such firmware.",
        { errors = { { field = (prefix or "") .. "firmware_id", message = "is the id of no firmware" } } })
    end
  end
  return filter.make(asked, image)
end

return filter
