-- conversations: a page of a user's list of conversations, the last changed first.
--
-- Purpose    What the user is in, was in and has not read, with one call. Bounded in conversations, in
--            bytes, and in how many it looks at: some in the list may have expired.
-- KEYS       1  convs:<uid>; and conv:<id>, log:<id>, gone:<id>, u:<uid>, q:<queue> of the site
-- ARGV       1  prefix of the site   2  uid   3  "1": recalled messages keep their text
--            4  and 5  score and name of the conversation to go on after, or "+inf" and ""
--            6  most conversations   7  most bytes; one conversation is given always
-- Returns    {"ok", more (0 or 1), score of the last one looked at, its name, conversation, …}
--            conversation  {name, state, uid of the other side, name of the other side as JSON, seq,
--            id of the newest entry, unread, read, delivered, read and delivered by the other side,
--            place in the queue, the newest message as an entry or {}}; "" and 0 where there is none
local STEP = 16 -- names read at once
local LOOKED_AT = 200 -- most names looked at
local BACK = 4 -- entries read at once to find the newest message
local BACK_STEPS = 8
local COST = 500 -- what a conversation takes in a frame beside its newest message

local e, uid, keeps, score, after = { S = ARGV[1] }, ARGV[2], ARGV[3] == "1", ARGV[4], ARGV[5]
local limit, room = tonumber(ARGV[6]), tonumber(ARGV[7])

-- The newest message of a conversation, and what it takes.
local function newest_message(conv, id)
  local from = "+"
  for _ = 1, BACK_STEPS do
    local raws = redis.call("XREVRANGE", e.S .. "log:" .. id, from, "-", "COUNT", BACK)
    for _, raw in ipairs(raws) do
      local entry, cost = shaped(raw, {})
      if entry[4] == "message" then
        local gone = recalled_among(conv, e.S .. "gone:" .. id, { raw })
        return shaped(raw, gone, keeps), cost
      end
    end
    if #raws < BACK then break end
    from = "(" .. raws[BACK][1]
  end
  return {}, 0
end

-- The place of a waiting customer, or 0.
local function place(conv)
  if conv.state ~= "waiting" then return 0 end
  local queue = redis.call("HGET", e.S .. "u:" .. conv.customer, "queue")
  local rank = queue and redis.call("ZRANK", e.S .. "q:" .. queue, conv.customer)
  return rank and rank + 1 or 0
end

local function described(conv, id)
  local side = D.reader(conv, uid)
  local own = side == "a" and "a" or "b" -- earlier staff were on side b
  local peer = own == "a" and "b" or "a"
  local with = D.other(conv, own)
  local name = side == "a" and conv.staff and redis.call("HGET", e.S .. "u:" .. conv.staff, "name")
  local last, cost = newest_message(conv, id)
  local read, unread, delivered = 0, 0, 0
  if side ~= "past" then
    read, unread, delivered = D.mark(conv["r" .. own]), D.unread(conv, own), conv["d" .. own] or 0
  end
  local peer_read = D.mark(conv["r" .. peer])
  return {
    id, conv.state, with or "", name or "", tonumber(conv.seq or 0), conv.last or "", unread,
    read, tonumber(delivered), peer_read, tonumber(conv["d" .. peer] or 0), place(conv), last,
  }, cost + COST
end

local answer, given, bytes, more, looked, offset = { "ok", 0, score, after }, 0, 0, nil, 0, 0
while more == nil do
  local names = redis.call("ZREVRANGEBYSCORE", KEYS[1], score, "-inf", "WITHSCORES", "LIMIT", offset, STEP)
  for i = 1, #names, 2 do
    local id, changed = names[i], names[i + 1]
    -- Of those that changed in the same ms the later names come first.
    local known = changed == score and after ~= "" and id >= after
    local conv = not known and D.conv(e, id)
    local item, cost
    if conv and D.reader(conv, uid) then item, cost = described(conv, id) end
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
