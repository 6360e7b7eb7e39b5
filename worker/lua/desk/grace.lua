-- Lost sockets: whoever resumes keeps their place for a while when the last of their sockets is lost.
--
-- u:<uid>.r:<client> says of a connection that it resumes; u:<uid>.lost, while the place is kept, until
-- when on the shard's clock. Meanwhile staff are on duty but not among the free, so get nobody new; a
-- customer who waits is in their queue but in `away` instead of `waiting`, so is passed over and keeps the place.

-- Takes a connection out of the state. Returns those that are left, "" for none.
D.disconnect = function(c, e, client, conns)
  local key, left = D.user_key(e, e.uid), D.without(conns, client)
  redis.call("HSET", key, "conns", left)
  redis.call("HDEL", key, "n:" .. client, "r:" .. client)
  redis.call("HDEL", c.P .. "boot:" .. D.boot_of(client), client)
  return left
end

-- The user of the event has lost their last connection and has a place to come back to.
D.lose = function(c, e)
  local lost = D.int(D.clock(c) + tonumber(c.settings.grace_ms))
  redis.call("HSET", D.user_key(e, e.uid), "lost", lost)
  redis.call("ZADD", c.P .. "due", lost, D.timer(e, "lost", e.uid, lost, c.lane))
  redis.call("ZREM", e.S .. "free", e.uid)
  if redis.call("ZREM", e.S .. "waiting", e.uid) == 1 then
    redis.call("ZADD", e.S .. "away", lost, e.uid)
  end
end

-- They are back: at their own place in the queue, or among the free.
D.come_back = function(c, e, lost)
  local key = D.user_key(e, e.uid)
  redis.call("HDEL", key, "lost")
  redis.call("ZREM", c.P .. "due", D.timer(e, "lost", e.uid, lost, c.lane))
  local queue, conv = D.get(key, "queue", "conv")
  if queue then
    redis.call("ZREM", e.S .. "away", e.uid)
    redis.call("ZADD", e.S .. "waiting", redis.call("HGET", D.conv_key(e, conv), "ticket"), e.uid)
  end
  D.place_staff(e, e.uid)
  D.fill(c, e)
end

-- The user of the event is gone: a customer leaves their conversation or queue, staff their duty.
D.depart = function(c, e)
  local duty, conv = D.get(D.user_key(e, e.uid), "duty", "conv")
  if duty then
    D.off_duty(c, e, e.uid)
  elseif conv then
    D.finish(c, e, conv, "customer_left")
    D.fill(c, e)
  end
  D.forget_if_gone(e, e.uid)
end
