-- Deliveries of webhooks as workers have them: what hook_take, hook_body and hook_done share.
--
-- A delivery that is taken is a claim: it moves to S hook:<id>:retry, due when the claim ends. Who has
-- taken it holds the claim while it delivers; if they die it is due again, and nothing is lost. Two
-- workers never have it at once unless one slept through its claim.
-- A member of `retry` is "<attempts begun>|<why the last one failed>|<delivery>"; S hook:<id>:parked is a stream
-- with the fields d, attempts, why: what has failed for the last time.

-- Attempts, why and delivery of a member.
D.hook_member = function(member)
  local attempts, why, delivery = string.match(member, "^(%d+)|([^|]*)|(.*)$")
  return tonumber(attempts), why, delivery
end

-- Whether a hook is there, and on, by its JSON.
D.hook_is_on = function(config)
  return config and string.find(config, '"enabled":true', 1, true) ~= nil
end

-- Whether a delivery, or a member that holds one, is that with this id; without one all are meant.
D.is_delivery = function(text, id)
  return not id or string.find(text, '{"id":"' .. id .. '"', 1, true) ~= nil
end

-- Redis's clock in ms.
D.now_ms = function()
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Files a delivery that is not tried again by itself; the oldest give way.
D.hook_park = function(key, attempts, why, delivery)
  local had = redis.call("XLEN", key .. ":parked")
  if had >= L.hook_parked then
    redis.call("XTRIM", key .. ":parked", "MAXLEN", L.hook_parked - 1)
    redis.call("HINCRBY", key .. ":counts", "forgotten", had - L.hook_parked + 1)
  end
  redis.call("XADD", key .. ":parked", "*", "d", delivery, "attempts", attempts, "why", why)
  redis.call("HINCRBY", key .. ":counts", "parked", 1)
end

-- Notes for how long claims of a hook are held; 0: nobody has any.
D.hook_hold = function(key, ms)
  if ms > 0 then
    redis.call("HSET", key .. ":counts", "held", D.int(D.now_ms() + ms))
  else
    redis.call("HDEL", key .. ":counts", "held")
  end
end

-- Until when claims of a hook are held, or nil. Whoever has them takes what comes by itself.
D.hook_held = function(key)
  local held = redis.call("HGET", key .. ":counts", "held")
  return held and tonumber(held) > D.now_ms() and held or nil
end

-- Redis's clock in ms, and the members of `retry` that nobody can have taken: those that are due, and those that will be
-- later than any claim ends. At most so many of either. A worker that stops holds claims after it has said that it holds
-- none, so what is due sooner than a claim lasts may be one.
D.hook_unclaimed = function(key, most)
  local now = D.now_ms()
  local ends = math.max(tonumber(D.hook_held(key) or 0), now + L.hook_claim_ms)
  local between = function(min, max)
    return redis.call("ZRANGEBYSCORE", key .. ":retry", min, max, "LIMIT", 0, most)
  end
  return now, between("-inf", D.int(now)), between("(" .. D.int(ends), "+inf")
end

-- Notes when there is something to do for a hook next. Those that are being served stand behind all that wait, or
-- many of them would be all that a look finds.
D.hook_next = function(P, key, name)
  local held = D.hook_held(key)
  if held then
    redis.call("ZADD", P .. "hooked", held, name)
    return
  end
  if redis.call("XLEN", key .. ":queue") > 0 then
    redis.call("ZADD", P .. "hooked", 0, name)
    return
  end
  local first = redis.call("ZRANGE", key .. ":retry", 0, 0, "WITHSCORES")
  if first[2] then
    redis.call("ZADD", P .. "hooked", first[2], name)
  else
    redis.call("ZREM", P .. "hooked", name)
  end
end
