-- Answers with the bytes of an image; the server adds length, ranges and HEAD.

return function(sha256, headers)
  local image, problem = firmware.open(sha256)
  if not image then
    log.error("image cannot be read", { sha256 = sha256, error = problem })
    fail(503, "The image cannot be read at the moment.")
  end
  headers["content-type"] = "application/octet-stream"
  headers.etag = sha256
  return 200, image, headers
end
