-- conversations: a page of a user's list of conversations, the last changed first.
--
-- Purpose    What the user is in, was in and has not read, with one call. Bounded in conversations, in
--            bytes, and in how many it looks at: some in the list may have expired.
-- KEYS       1  convs:<uid>; and conv:<id>, log:<id>, gone:<id>, u:<uid>, q:<queue> of the site
-- ARGV       1  to 5: see asker.lua   6  "1": recalled messages keep their text
--            7  and 8  score and name of the conversation to go on after, or "+inf" and ""
--            9  most conversations   10 most bytes; one conversation is given always
-- Returns    {code of an error}, or {"ok", more (0 or 1), score of the last one looked at, its name, conversation, …};
--            conversation: see described.lua
local STEP = 16 -- names read at once
local LOOKED_AT = 200 -- most names looked at

local keeps, score, after = ARGV[6] == "1", ARGV[7], ARGV[8]
local limit, room = tonumber(ARGV[9]), tonumber(ARGV[10])

local why = barred()
if why then return { why } end
local answer, given, bytes, more, looked, offset = { "ok", 0, score, after }, 0, 0, nil, 0, 0
while more == nil do
  local names = redis.call("ZREVRANGEBYSCORE", KEYS[1], score, "-inf", "WITHSCORES", "LIMIT", offset, STEP)
  for i = 1, #names, 2 do
    local id, changed = names[i], names[i + 1]
    -- Of those that changed in the same ms the later names come first.
    local known = changed == score and after ~= "" and id >= after
    local conv = not known and D.conv(e, id)
    local item, cost
    if conv and D.reader(conv, uid) then item, cost = described(conv, id, keeps) end
    if looked == LOOKED_AT or (item and (given == limit or (given > 0 and bytes + cost > room))) then
      more = 1
      break
    end
    if item then
      given, bytes = given + 1, bytes + cost
      answer[4 + given] = item
    end
    looked = looked + 1
    answer[3], answer[4] = changed, id
  end
  if #names < 2 * STEP then more = more or 0 end
  offset = offset + STEP
end
answer[2] = more
return answer
