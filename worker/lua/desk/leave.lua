-- How staff leave: what becomes of their conversations and of those who wait in their queue, by
-- the setting `on_staff_leave`.

-- Puts an open conversation of a staff member who leaves back into a queue, by its old ticket.
local requeue = function(c, e, conv)
  local key = D.conv_key(e, conv)
  local customer, ticket, staff = D.get(key, "customer", "ticket", "staff")
  local conns, lang, lane, left = D.get(D.user_key(e, customer), "conns", "lang", "lane", "left")
  D.release(e, staff, conv)
  if left then
    D.leave_again(c, e, customer, conv, left)
  else
    redis.call("ZREM", c.P .. "due", D.timer(e, "idle", customer, conv, lane))
    redis.call("HDEL", key, "idle")
  end
  D.part(key, staff)
  local place = D.enqueue(c, e, customer, conv, ticket, D.left_queue(left))
  local entry = D.log(e, conv, "system", staff, "requeued", "staff_offline")
  D.list(c, e, customer, conv)
  D.list(c, e, staff, conv)
  D.push_conns(e, conns, D.head(lang, "queued") .. ',"conversation":"' .. conv
    .. '","queue":' .. D.int(place) .. D.tail(entry) .. "}}")
  c.touched = c.touched + 1
end

-- Moves a waiting customer from the queue of a staff member who left to the shortest other one.
local move = function(c, e, customer)
  local key = D.user_key(e, customer)
  local conns, lang, conv, queue = D.get(key, "conns", "lang", "conv", "queue")
  local ticket, words, bytes = D.get(D.conv_key(e, conv), "ticket", "words", "bytes")
  D.dequeue(c, e, customer, queue)
  local place = D.enqueue(c, e, customer, conv, ticket)
  redis.call("HSET", D.conv_key(e, conv), "words", words, "bytes", bytes)
  D.push_conns(e, conns, D.head(lang, "queued") .. ',"conversation":"' .. conv
    .. '","queue":' .. D.int(place) .. "}}")
  c.touched = c.touched + 1
end

-- Serves those who wait in a queue that lost its staff, up to a ticket: they are asked whether to
-- connect to somebody else, or moved (setting `on_staff_leave`). A call touches at most L.touched
-- users; what is left is finished by a continuation event in the same lane.
D.queue_lost = function(c, e, queue, upto)
  local requeue, others = c.settings.on_staff_leave == "requeue", redis.call("ZCARD", e.S .. "duty") > 0
  -- Before a continuation somebody may have come on duty for this very queue: then it is not lost
  -- any more, and moving would put everybody back where they were, for ever.
  local served = queue == SHARED and others or redis.call("ZSCORE", e.S .. "duty", queue)
  if requeue and served then return end
  local room = math.max(L.touched - c.touched, 0)
  local key = D.queue_key(e, queue)
  local customers = redis.call("ZRANGEBYSCORE", key, "-inf", upto, "LIMIT", 0, room + 1)
  for i = 1, math.min(#customers, room) do
    if others and requeue then
      move(c, e, customers[i])
    else
      D.finish(c, e, redis.call("HGET", D.user_key(e, customers[i]), "conv"), "queue_staff_offline")
    end
  end
  if #customers > room then
    redis.call("XADD", c.P .. "events:" .. c.lane, "*", "v", 1, "site", e.site, "uid", e.uid,
      "kind", "queue_lost", "queue", queue, "upto", upto)
  end
  D.forget_site(c, e)
end

-- Takes a site without staff and without waiting customers off the list that the metrics read.
D.forget_site = function(c, e)
  if redis.call("ZCARD", e.S .. "duty") + redis.call("ZCARD", e.S .. "waiting") == 0 then
    redis.call("SREM", c.P .. "sites", e.site)
  end
end

-- Takes a staff member off duty: their conversations end or go back to a queue, their queue is lost.
D.off_duty = function(c, e, uid)
  local key = D.user_key(e, uid)
  redis.call("ZREM", e.S .. "duty", uid)
  redis.call("HDEL", key, "duty")
  redis.call("ZREM", e.S .. "free", uid)
  c.touched = c.touched + 1
  local others = redis.call("ZCARD", e.S .. "duty") > 0
  for conv in string.gmatch(redis.call("HGET", key, "convs") or "", "%S+") do
    if others and c.settings.on_staff_leave == "requeue" then
      requeue(c, e, conv)
    else
      D.finish(c, e, conv, "staff_offline")
    end
  end
  redis.call("HDEL", key, "name", "max", "open", "convs", "turn")
  local queue = uid
  if c.settings.policy == "shared" then
    if others then
      D.fill(c, e)
      return
    end
    queue = SHARED
  end
  -- Everybody who joined this queue has a ticket up to now; who joins later is not concerned.
  D.queue_lost(c, e, queue, D.int(D.turn(e)))
  D.fill(c, e)
end
