-- A conversation as lists show it to one of its sides:
--   {name, state, uid of the other side, name of the other side as JSON, seq, id of the newest entry, unread, read,
--   delivered, read and delivered by the other side, place in the queue, the newest message as an entry or {}};
--   "" and 0 where there is none
local BACK = 4 -- entries read at once to find the newest message
local BACK_STEPS = 8
local COST = 500 -- what a conversation takes in an answer beside its newest message

-- The newest message of a conversation, and what it takes.
local function newest_message(conv, id, keeps)
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

-- Returns it, and about how many bytes it takes. Who belongs to neither side sees it without marks.
local function described(conv, id, keeps)
  local side = D.reader(conv, uid) or "past"
  local own = side == "a" and "a" or "b" -- earlier staff were on side b
  local peer = own == "a" and "b" or "a"
  local with = D.other(conv, own)
  local name = side == "a" and conv.staff and redis.call("HGET", e.S .. "u:" .. conv.staff, "name")
  local last, cost = newest_message(conv, id, keeps)
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
