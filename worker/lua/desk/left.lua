-- Left messages, by the setting `leave_message`: who asks for staff while nobody is on duty begins a
-- conversation that waits for whoever comes. u:<uid>.left says so of a customer until they write to the
-- staff member who has taken it: so long it does not end with their last connection.
--
-- It waits in a queue of its own, which no staff can lose, and is taken by its ticket like any other.
-- Its idle timer runs from the beginning, for the retention: a conversation whose customer never comes back
-- and which nobody answers leaves nothing behind. Words renew that time; the first ones to staff bring
-- it down to the idle time of any conversation.

local LEFT = "+" -- no uid looks like it, nor the shared queue

-- The queue of a customer who has left messages; nil for any other.
D.left_queue = function(left)
  return left and LEFT or nil
end

-- Until when on the shard's clock a conversation waits for an answer.
D.left_until = function(c)
  return D.int(D.clock(c) + tonumber(c.settings.retention_ms))
end

-- Begins the conversation of the event's user, who has no other.
D.leave_message = function(c, e, conv, ticket)
  D.enqueue(c, e, e.uid, conv, ticket, LEFT)
  redis.call("HSET", D.user_key(e, e.uid), "left", 1)
  local idle = D.left_until(c)
  redis.call("HSET", D.conv_key(e, conv), "idle", idle)
  redis.call("ZADD", c.P .. "due", idle, D.timer(e, "idle", e.uid, conv, c.lane))
  redis.call("SADD", c.P .. "sites", e.site)
  D.list(c, e, e.uid, conv)
  D.tell_queued(e, conv, "left")
end

-- The event's user writes to the staff member who has taken it: from here on it is as any conversation.
D.no_longer_left = function(c, e, conv, idle)
  redis.call("HDEL", D.user_key(e, e.uid), "left")
  redis.call("ZADD", c.P .. "due", idle, D.timer(e, "idle", e.uid, conv, c.lane))
end
