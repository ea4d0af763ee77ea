-- Email addresses as HTML's <input type=email> takes them: ASCII, local@domain.

local email = {}

local function sound_label(label)
  return #label <= 63 and label:find("^[%w-]+$") and not label:find("^%-") and not label:find("%-$")
end

-- nil for a sound address, else what is wrong with it.
function email.refusal(text)
  local name, domain = text:match("^([%w.!#$%%&'*+/=?^_`{|}~-]+)@([%w.-]+)$")
  if not name or #name > 64 or name:find("^%.") or name:find("%.$") or name:find("..", 1, true) then
    return "must be an email address"
  end
  for label in (domain .. "."):gmatch("(.-)%.") do
    if not sound_label(label) then return "must be an email address" end
  end
end

return email
