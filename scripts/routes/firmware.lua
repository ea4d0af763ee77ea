-- Firmware images: upload, list, download, delete.

local download = require "lib.download"
local kept = require "lib.kept"
local page = require "lib.page"
local schema = require "lib.schema"

local ABOUT = {
  version = {
    "string", min = 1, max = 50, pattern = "^[^%c]+$", means = "1 to 50 printable characters", optional = true,
    check = function(value) -- devices have room for so many bytes
      if #value > 50 then return "must be 50 bytes at most" end
    end,
  },
  notes = { "string", max = 2000, optional = true },
  signature = { "string", max = 100, optional = true },
}
local check_about = schema.compile(ABOUT)

local kept_counts = kept { fresh = 5, usable = 30, most = 100 }

-- As the API shows it: where the file is kept is nobody's business, where it can be fetched is.
local function shown(row)
  row.file_url = ("%s/firmware/%d/download"):format(config["public_url"], row.id)
  return row
end

local function refuse(field, message, detail)
  fail(422, detail or "Some fields are not as they must be.", { errors = { { field = field, message = message } } })
end

-- The bytes, and {version, notes, signature} as told in parts or in the query.
local function read_upload(req)
  if not req.parts then return req.body, req.query end
  local file = req.parts.file
  if type(file) ~= "table" then refuse("file", "must be the image, sent as a file: a part with a file name") end
  local told = {}
  for name, part in pairs(req.parts) do
    if name ~= "file" then told[name] = part end
  end
  for name, value in pairs(req.query) do
    if told[name] ~= nil then refuse(name, "is given twice") end
    told[name] = value
  end
  local about, errors = check_about(told)
  if errors then fail(422, "Some fields are not as they must be.", { errors = errors }) end
  return file.data, about
end

local function parse(data)
  if #data > config["firmware.max_size"] then fail(413, "The image is larger than this server takes.") end
  local image, problem = firmware.parse(data)
  if image then return image end
  fail(422, "This is not a sound ESP32 application image.", {
    errors = { {
      field = "file", message = ("%s: %s (at byte %d)"):format(problem.check, problem.message, problem.offset),
      check = problem.check, offset = problem.offset,
    } },
  })
end

-- The release signature: what the uploader gives, else the server's own, else none. Signature and key id.
local function release(image, version, given)
  if not given then return firmware.sign(image.chip, version, image.sha256) end
  local key = firmware.verify(image.chip, version, image.sha256, given)
  if not key then
    refuse("signature", ("is not by a trusted release key over chip %s, version %s and this image"):format(
      image.chip, version))
  end
  return given, key
end

local function store(data)
  local ok, problem = firmware.store(data)
  if ok then return end
  log.error("image cannot be stored", { error = problem })
  if problem == "no_space" then fail(507, "The server has no room left for the image.") end
  fail(503, "The image cannot be stored at the moment.")
end

-- What was told of an image that is known with something else: that stays, and the answer says so.
local function ignored(row, about)
  local list = {}
  for _, name in ipairs { "version", "notes" } do
    if about[name] and about[name] ~= row[name] then
      list[#list + 1] = {
        field = name,
        message = ("is ignored: this image is stored already with %s; delete that one first to change it"):format(
          row[name] and "another" or "none"),
      }
    end
  end
  return #list > 0 and list or nil
end

-- The identical image again. One that had no release signature may get it now.
local function known(row, image, about, data)
  local signature, key = release(image, row.version, about.signature)
  local signed = signature and db.one("firmware_sign", row.id, signature, key)
  if signed then row.release_key = signed.release_key end
  store(data)
  return 200, { firmware = shown(row), ignored = ignored(row, about) }
end

local function must_not_conflict(image, version)
  local other = db.one("firmware_by_version", image.chip, image.project, version)
  if other and other.sha256 ~= image.sha256 then
    fail(409, ("Version %s of %s for %s is stored already with other bytes: give this image another version."):format(
      version, image.project, image.chip))
  end
end

-- The new row, or nil where another upload or deletion of the same came in between.
local function create(image, version, signature, key, about, req)
  local row, violation, constraint = db.one("firmware_create", version, image.sha256, image.chip, image.project,
    image.size, image.elf_sha256, image.secure_version, image.idf_version, image.min_chip_revision,
    image.signature_kind, signature, key, about.notes, req.user.id)
  if violation and violation ~= "unique_violation" then error("firmware_create: " .. constraint) end
  return row
end

local function upload(req)
  local data, about = read_upload(req)
  local image = parse(data)
  local version = about.version or image.version
  for _ = 1, 5 do
    local row = db.one("firmware_by_sha256", image.sha256)
    if row then return known(row, image, about, data) end

    if version == "" then refuse("version", "is missing, and the image itself names none") end
    must_not_conflict(image, version)
    local signature, key = release(image, version, about.signature)
    store(data)
    row = create(image, version, signature, key, about, req)
    if row then
      store(data) -- once more: a deletion may have taken it before there was this row
      events.publish("firmware", { "fleet" }, { action = "uploaded", firmware = shown(row) })
      return 201, { firmware = row }
    end
  end
  fail(503, "Others keep uploading and deleting this image. Try again later.")
end

-- How many of the devices that the account may see run an image, by its id. In a large fleet that takes a while: on a
-- connection of its own.
local function counts(account, operator)
  local by_id = {}
  for _, row in ipairs(db.transaction(function(tx) return tx.all("firmware_devices", account, operator) end)) do
    by_id[row.id] = row.devices
  end
  return by_id
end

local function list(req)
  local before = page.start(req, "firmware", 2147483647)
  local rows = db.all("firmware_list", before, req.query.limit + 1, req.query.chip)
  local user, operator = req.user, req.user.role == "operator"
  local devices = req.query.devices
    and kept_counts(operator and "all" or user.id, function() return counts(user.id, operator) end)
  for _, row in ipairs(rows) do
    shown(row)
    if devices then row.devices = devices[row.id] or 0 end
  end
  return page.answer(req, "firmware", rows, page.by_id)
end

local function find(req)
  local row = db.one("firmware_by_id", req.params.id)
  if not row then fail(404) end
  return row
end

local function get(req)
  return 200, shown(find(req))
end

local function send(req)
  local row = find(req)
  local name = ("%s-%s-%s.bin"):format(row.project, row.version, row.chip):gsub("[^%w._-]", "_")
  return download(row, { ["content-disposition"] = ('attachment; filename="%s"'):format(name) })
end

-- The file goes before the transaction ends: an upload of the same image waits for the row and then looks again
-- whether its file is there.
local function delete(req)
  db.transaction(function(tx)
    local row = tx.one("firmware_lock", req.params.id)
    if not row then fail(404) end
    if tx.one("firmware_needed", row.id).needed then
      fail(409, "An update under way needs this firmware: wait for its end, or cancel it.")
    end
    tx.run("firmware_delete", row.id)
    local ok, problem = firmware.remove(row.sha256)
    if not ok and problem ~= "not_found" then
      log.error("image cannot be removed", { sha256 = row.sha256, error = problem })
      fail(503, "The image cannot be removed at the moment.")
    end
  end)
  events.publish("firmware", { "fleet" }, { action = "deleted", firmware = { id = req.params.id } })
  return 204
end

return {
  {
    method = "POST", path = "/firmware/upload", who = "operator",
    body = "multipart", max_body = "firmware.max_size", query = ABOUT,
    handler = upload,
  },
  {
    method = "GET", path = "/firmware/list", who = "user",
    query = page.query { chip = { "string", max = 50, optional = true }, devices = { "boolean", default = false } },
    handler = list,
  },
  { method = "GET", path = "/firmware/:id", who = "user", handler = get },
  { method = "GET", path = "/firmware/:id/download", who = "user", handler = send },
  { method = "DELETE", path = "/firmware/:id/delete", who = "operator", handler = delete },
}
