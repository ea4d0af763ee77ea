-- Answers with the bytes of an image; the server adds length, ranges, conditions and HEAD. row: sha256, uploaded_at.

return function(row, headers)
  local image, problem = firmware.open(row.sha256)
  if not image then
    log.error("image cannot be read", { sha256 = row.sha256, error = problem })
    fail(503, "The image cannot be read at the moment.")
  end
  headers["content-type"] = "application/octet-stream"
  headers.etag = row.sha256
  headers["last-modified"] = math.floor(time.parse(row.uploaded_at))
  return 200, image, headers
end
