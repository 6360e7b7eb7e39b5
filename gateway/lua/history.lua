-- history: one page of a conversation's log, for somebody who may read it.
--
-- Purpose    Reads go past the log of events, for they change nothing. A page is bounded in entries
--            and in bytes, and read in small steps, so that one of long messages keeps nobody waiting.
-- KEYS       1  conv:<id>   2  log:<id>   3  gone:<id>
-- ARGV       1  to 5: see asker.lua   6  conversation
--            7  "1": recalled messages keep their text
--            8  "back" or "on"   9  the seq to go on from, exclusive; "" back from the newest
--            10 most entries   11 most bytes; one entry is given always
-- Returns    {code of an error}, or {"ok", seq of the newest entry, more (0 or 1), id of the entry
--            before the oldest one given or "", entry, …} in the order in which they were read
local STEP = 8 -- entries read at once

local id, keeps = ARGV[6], ARGV[7] == "1"
local back, from, limit, room = ARGV[8] == "back", ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])

local why = barred()
if why then return { why } end
local conv = D.conv(e, id)
if not conv then return { "no_conversation" } end
if not sees_all and not D.reader(conv, uid) then return { "forbidden" } end

local function step(count)
  if back then return redis.call("XREVRANGE", KEYS[2], from, "-", "COUNT", count) end
  return redis.call("XRANGE", KEYS[2], from, "+", "COUNT", count)
end

local edge = ""
if from == "" then
  from = "+"
elseif from == "0" then
  from = "-"
else
  local place = from .. "-0"
  -- Going on, the entry that the asker has already is the one before the first.
  local known = not back and redis.call("XRANGE", KEYS[2], place, place)[1]
  if known then edge = shaped(known, {})[2] end
  from = "(" .. place
end

local answer, given, bytes, more = { "ok", conv.seq or "0" }, 0, 0, nil
while more == nil do
  local count = math.min(STEP, limit - given + 1)
  local raws = step(count)
  local gone = recalled_among(conv, KEYS[3], raws)
  for _, raw in ipairs(raws) do
    local entry, cost = shaped(raw, gone, keeps)
    if given == limit or (given > 0 and bytes + cost > room) then
      more = 1
      if back then edge = entry[2] end
      break
    end
    given, bytes = given + 1, bytes + cost
    answer[4 + given] = entry
  end
  if #raws < count then more = more or 0 end
  if not more then from = "(" .. raws[#raws][1] end
end
answer[3], answer[4] = more, edge
return answer
