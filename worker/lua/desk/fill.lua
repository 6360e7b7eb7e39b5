-- Free places are given to those who wait longest.
--
-- Whoever takes many over at once is sent all their words: once a call has pushed L.fill_bytes of them it goes on in
-- another one, or a socket's queue could not take it. Until then a place may be free while somebody waits.

-- The rest is filled by a continuation event in the same lane, once for all entries of a call: a lost queue
-- that nobody has been in loses nobody, and fills.
local fill_later = function(c, e)
  c.later = c.later or {}
  if c.later[e.site] then return end
  c.later[e.site] = true
  redis.call("XADD", c.P .. "events:" .. c.lane, "*", "v", 1, "site", e.site, "uid", e.uid,
    "kind", "queue_lost", "queue", SHARED, "upto", 0)
end

-- Gives free places to those who wait longest. Every round uses up a free place, and an event
-- frees fewer than the bound; the bound is for state that should not exist.
D.fill = function(c, e)
  for _ = 1, L.touched do
    local staff = redis.call("ZRANGE", e.S .. "free", 0, 0)[1]
    local customer = staff and redis.call("ZRANGE", e.S .. "waiting", 0, 0)[1]
    if not customer then return end
    if (c.words or 0) >= L.fill_bytes then return fill_later(c, e) end
    D.assign(c, e, customer, staff, redis.call("HGET", D.user_key(e, customer), "conv"))
  end
end
