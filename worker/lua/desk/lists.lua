-- What is kept of users who have gone, and for how long: convs:<uid>, the list of their conversations by
-- the last change, and who:<uid>, their role.

-- The first conversation that is over among some of a list, or nil.
local over_among = function(e, key, from, to)
  for _, conv in ipairs(redis.call("ZRANGE", key, from, to)) do
    local state = redis.call("HGET", D.quiet_conv_key(e, conv), "state")
    if not state or state == "ended" then return conv end
  end
end

-- Of a list that is full, a conversation that is over, or nil. Only its ends are looked at: what is over is among the
-- longest untouched, since what is in use goes to the end of the list, or has ended just now.
local droppable = function(e, key)
  return over_among(e, key, 0, L.droppable - 1) or over_among(e, key, -L.droppable, -1)
end

-- How old an expiry that is renewed by use may be, and how long what it keeps lives: what was used is
-- kept for the retention, and at most that much longer.
D.renew_ms = function(c)
  return math.min(L.renew_ms, tonumber(c.settings.retention_ms))
end

D.keep_ms = function(c)
  return D.int(tonumber(c.settings.retention_ms) + D.renew_ms(c))
end

-- Remembers that a user of the site has been there, and as whom.
D.seen = function(c, e, uid, role)
  redis.call("SET", D.who_key(e, uid), role, "PX", D.keep_ms(c))
end

-- Whether a user may begin one more conversation: their list has room, or can make some.
D.has_room = function(e, uid)
  local key = D.list_key(e, uid)
  return redis.call("ZCARD", key) < L.conversations or droppable(e, key) ~= nil
end

-- Notes in a user's list that a conversation has begun, was assigned, requeued or has ended, or that the
-- expiry of a direct one was renewed; not for each message. What is new pushes out what is over: what
-- Redis has forgotten, and beyond the bound what is oldest. Staff are assigned to even if all of their
-- list lives on (direct conversations do); it is then longer by what they have open and what was not found.
D.list = function(c, e, uid, conv)
  local key, retention = D.list_key(e, uid), tonumber(c.settings.retention_ms)
  if redis.call("ZADD", key, e.time, conv) == 1 then
    local forgotten = D.int(tonumber(e.time) - retention)
    for _, old in ipairs(redis.call("ZRANGEBYSCORE", key, "-inf", forgotten, "LIMIT", 0, L.pruned)) do
      if redis.call("EXISTS", D.quiet_conv_key(e, old)) == 0 then redis.call("ZREM", key, old) end
    end
    local over = redis.call("ZCARD", key) > L.conversations and droppable(e, key)
    if over then redis.call("ZREM", key, over) end
  end
  redis.call("PEXPIRE", key, D.keep_ms(c))
end
