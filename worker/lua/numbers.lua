-- Whole numbers as text and back, without C's conversions, which cost Redis as much as joining a frame: a message
-- needs a dozen. Small ones are kept as the library is loaded; in the place of what prelude.lua says.
local TEXT, NUMBER = {}, {}
for number = 0, L.small do
  local text = number .. ""
  TEXT[number], NUMBER[text] = text, number
end

D.int = function(number)
  return TEXT[number] or string.format("%d", number)
end

D.number = function(text)
  return NUMBER[text] or tonumber(text)
end
