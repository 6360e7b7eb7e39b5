-- Left messages, by the setting `leave_message`: who asks for staff while nobody is on duty begins a
-- conversation that waits for whoever comes. u:<uid>.left says so of a customer until they are here and write to the
-- staff member who has taken it: so long it does not end with their last connection.
--
-- It waits in a queue of its own, which no staff can lose, and is taken by its ticket like any other.
-- Its idle timer runs from the beginning, for the retention: a conversation whose customer never comes back
-- and which nobody answers leaves nothing behind. Words renew that time; the first ones to staff bring
-- it down to the idle time of any conversation. Who writes these without a connection (transitions/request.lua) is
-- still away, so has still left it (then u:<uid>.left is 2): nothing but that timer would ever end it. If staff hand
-- it back it waits for an answer again, as long as at the beginning.

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

-- The event's user writes to the staff member who has taken it: from here on its time is that of any conversation, and
-- if they are here it is one.
D.answer_left = function(c, e, conv, idle, conns)
  if conns and conns ~= "" then
    redis.call("HDEL", D.user_key(e, e.uid), "left")
  else
    redis.call("HSET", D.user_key(e, e.uid), "left", 2)
  end
  redis.call("ZADD", c.P .. "due", idle, D.timer(e, "idle", e.uid, conv, c.lane))
end

-- It goes back to the queue of what was left. Whether words have brought its time down `left` says; the timer finds
-- the later time when it is due.
D.leave_again = function(c, e, customer, conv, left)
  if left ~= "2" then return end
  redis.call("HSET", D.user_key(e, customer), "left", 1)
  redis.call("HSET", D.conv_key(e, conv), "idle", D.left_until(c))
end
