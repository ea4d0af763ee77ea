-- What devices download. The token is the only permission: it is bound to one update and ends with it.

local download = require "lib.download"

return {
  {
    method = "GET", path = "/ota/:token", who = "anyone",
    handler = function(req)
      local id = offers.read_token(req.params.token)
      local image = id and id <= 2147483647 and db.one("update_image", id)
      if not image then fail(404) end
      return download(image, { ["cache-control"] = "private, no-transform" })
    end,
  },
}
