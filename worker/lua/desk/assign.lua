-- Queueing and assignment.
--
-- Invariant after every transition: no place is free while somebody waits, unless desk/fill.lua goes on in another call,
-- and nobody is in two places. A free place is open < max. Who is lost neither offers a place nor waits (desk/grace.lua).
-- Scores are integers below 2^53:
--   free     open * OPEN + turn of the last assignment   fewest open first, tie: longest without
--   duty     queue length * WAITS + turn of coming on    shortest queue first, tie: on duty longest
--   waiting, q:<queue>                                    the customer's ticket, so arrival order
--   away     until when the place of who waits and is lost is kept; with waiting it counts who waits

local OPEN, WAITS = 2 ^ 40, 2 ^ 35
local SHARED = "-" -- the one queue of policy `shared`; no uid looks like it

-- Puts a staff member among the free or takes them out, after open, max or turn changed.
D.place_staff = function(e, uid)
  local duty, open, max, turn, lost =
    D.get(D.user_key(e, uid), "duty", "open", "max", "turn", "lost")
  if duty and not lost and tonumber(open) < tonumber(max) then
    redis.call("ZADD", e.S .. "free", tonumber(open) * OPEN + tonumber(turn), uid)
  else
    redis.call("ZREM", e.S .. "free", uid)
  end
end

-- Enters a staff member into the duty list, which knows the length of their queue.
D.place_duty = function(e, uid, turn)
  local waits = redis.call("ZCARD", D.queue_key(e, uid))
  redis.call("ZADD", e.S .. "duty", waits * WAITS + turn, uid)
end

-- Remembers that places in a queue may have changed; the tick tells those concerned.
D.queue_changed = function(c, e, queue)
  local moved, member = c.P .. "moved", e.site .. "|" .. queue
  if tonumber(redis.call("ZSCORE", moved, member) or 0) > 0 then
    -- It is being told from the front; those already passed are told in another round.
    redis.call("SADD", c.P .. "again", member)
  else
    redis.call("ZADD", moved, 0, member)
  end
end

-- Puts a customer into a queue by their ticket: this one, or by the policy. Returns their place, from 1.
D.enqueue = function(c, e, uid, conv, ticket, queue)
  queue = queue or (c.settings.policy == "shared" and SHARED)
    or redis.call("ZRANGE", e.S .. "duty", 0, 0)[1]
  local lost = redis.call("HGET", D.user_key(e, uid), "lost")
  if lost then
    redis.call("ZADD", e.S .. "away", lost, uid)
  else
    redis.call("ZADD", e.S .. "waiting", ticket, uid)
  end
  redis.call("ZADD", D.queue_key(e, queue), ticket, uid)
  redis.call("ZADD", e.S .. "duty", "XX", "INCR", WAITS, queue)
  local place = redis.call("ZRANK", D.queue_key(e, queue), uid) + 1
  -- An old ticket goes in before others.
  if place < redis.call("ZCARD", D.queue_key(e, queue)) then D.queue_changed(c, e, queue) end
  redis.call("HSET", D.user_key(e, uid), "conv", conv, "queue", queue, "place", place)
  redis.call("HSET", D.conv_key(e, conv), "state", "waiting", "customer", uid, "ticket", ticket,
    "words", 0, "bytes", 0)
  return place
end

-- Takes a waiting customer out of their queue.
D.dequeue = function(c, e, uid, queue)
  if redis.call("ZREM", e.S .. "waiting", uid) == 0 then redis.call("ZREM", e.S .. "away", uid) end
  redis.call("ZREM", D.queue_key(e, queue), uid)
  redis.call("ZADD", e.S .. "duty", "XX", "INCR", -WAITS, queue)
  redis.call("HDEL", D.user_key(e, uid), "queue", "place")
  D.queue_changed(c, e, queue)
end

-- Opens a conversation between a customer and a staff member with a free place, and tells both.
D.assign = function(c, e, customer, staff, conv)
  local turn = D.turn(e)
  local conns, lang, lane, queue, left =
    D.get(D.user_key(e, customer), "conns", "lang", "lane", "queue", "left")
  local s_conns, s_lang, name, open, convs =
    D.get(D.user_key(e, staff), "conns", "lang", "name", "open", "convs")
  if queue then D.dequeue(c, e, customer, queue) end
  local key = D.conv_key(e, conv)
  local seq, prev, counts, past, recalls = D.get(key, "seq", "last", "counts", "past", "recalls")
  redis.call("HSET", key, "state", "open", "customer", customer, "staff", staff, "at", D.int(c.now))
  if past then D.rejoin(key, staff) end
  if not left then
    local idle = D.int(D.clock(c) + tonumber(c.settings.idle_ms))
    redis.call("HSET", key, "idle", idle)
    redis.call("ZADD", c.P .. "due", idle, D.timer(e, "idle", customer, conv, lane))
  end
  redis.call("HSET", D.user_key(e, customer), "conv", conv)
  redis.call("HSET", D.user_key(e, staff), "open", tonumber(open) + 1,
    "convs", D.with(convs or "", conv), "turn", turn)
  D.place_staff(e, staff)
  local entry = D.append(e, conv, seq, prev, counts or "0 0", "system", staff, "assigned", customer)
  D.list(c, e, customer, conv)
  D.list(c, e, staff, conv)

  local conversation = ',"conversation":"' .. conv .. '"'
  if queue then
    D.push_conns(e, conns, D.head(lang, "your_turn") .. conversation .. "}}")
  end
  D.push_conns(e, conns, D.head(lang, "connected") .. conversation
    .. ',"name":' .. name .. D.tail(entry) .. "}}")
  D.push_conns(e, s_conns, D.head(s_lang, "new_customer") .. conversation
    .. ',"customer":"' .. customer .. '"' .. D.tail(entry) .. "}}")
  local words = tonumber(entry.seq) > 1 and D.push_words(e, conv, s_conns, recalls) or 0
  c.words = (c.words or 0) + words
  c.touched = c.touched + 2 + math.floor(words / L.touch_bytes)
end
