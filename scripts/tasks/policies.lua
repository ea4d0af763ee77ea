-- Puts policies in force that were saved as files (scripts/policies/NAME.lua). A file counts when it was saved after what
-- is in force; just after a start, when its content is new to the database. So what was put in force over HTTP stays
-- until somebody edits the file, and an old copy of the files brings nothing old back.

local imported -- of this generation of scripts: once is enough

return {
  every = "250ms",
  run = function()
    if imported then return end
    local list, by_name = {}, {}
    for i, file in ipairs(policies.files()) do
      by_name[file.name] = file
      list[i] = { name = file.name, revision = file.revision, saved_at = file.saved_at }
    end
    for _, row in ipairs(db.all("policy_imports", json.array(list), server.first_scripts(), now())) do
      local file = by_name[row.name]
      local loaded = policies.load(file.name, file.source)
      if #loaded.problems > 0 then
        local problem = loaded.problems[1]
        log.error("policy not put in force", { file = problem.file, line = problem.line, problem = problem.message })
      elseif db.one("policy_activate", file.name, row.active, file.revision, file.source, "file", nil) then
        log.info("policy in force", { policy = file.name, revision = file.revision })
      end
    end
    imported = true
  end,
}
