-- Which passwords are refused although they are long enough: those that are tried first.

local common = require "lib.common_passwords"

local password = {}

-- Longer texts of one kind are on nobody's list.
local LONGEST_TRIVIAL = 32

local ROWS = {
  "01234567890123456789", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm",
  "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
  "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "!@#$%^&*()",
}

local function in_a_row(text)
  for _, row in ipairs(ROWS) do
    if row:find(text, 1, true) or row:reverse():find(text, 1, true) then return true end
  end
end

-- The shortest piece that the text is a repetition of, the last time perhaps cut short.
local function unit(text)
  for size = 1, #text // 2 do
    if text:sub(size + 1) == text:sub(1, #text - size) then return text:sub(1, size) end
  end
  return text
end

-- nil, or why not. address: of the account, lower case.
function password.refusal(text, address)
  local lower = text:lower()
  if common[lower] then return "is one of the most common passwords" end
  if lower == address or lower == address:match("^[^@]+") then return "is the email address" end
  if #lower <= LONGEST_TRIVIAL then
    local piece = unit(lower)
    if #piece <= 3 or common[piece] then return "repeats itself" end
    if in_a_row(piece) then return "is a row of keys, letters or digits" end
  end
end

return password
