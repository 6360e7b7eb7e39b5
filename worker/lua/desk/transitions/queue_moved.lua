-- queue_moved: tell customers whose place in a queue has changed. Appended by the tick for all
-- queues in `moved` (queue -> rank to go on from); continues in the same lane while there is more.
--
-- fields  prefix site uid
-- writes  moved, again, moving, u:<customer> {place}, events:<lane>
-- pushes  queue_moved to those whose place is not the one they were told

local tell = function(c, e, uid, place)
  local key = D.user_key(e, uid)
  local told, conns, lang = D.get(key, "place", "conns", "lang")
  if tonumber(told) ~= place then
    redis.call("HSET", key, "place", place)
    D.push_conns(e, conns, D.head(lang, "queue_moved", place) .. ',"queue":' .. D.int(place) .. "}}")
  end
end

T.queue_moved = function(c, e, a)
  local moved = c.P .. "moved"
  while c.touched < L.touched do
    local next_one = redis.call("ZRANGE", moved, 0, 0, "WITHSCORES")
    if not next_one[1] then
      redis.call("DEL", c.P .. "moving")
      return
    end
    local site, queue = string.match(next_one[1], "^([^|]+)|(.+)$")
    local here = { id = e.id, out = e.out, S = c.P .. "site:" .. site .. ":", call = c }
    local from, room = tonumber(next_one[2]), L.touched - c.touched
    local customers = redis.call("ZRANGE", D.queue_key(here, queue), from, from + room - 1)
    for i, uid in ipairs(customers) do tell(c, here, uid, from + i) end
    c.touched = c.touched + #customers
    if #customers == room then
      redis.call("ZADD", moved, from + room, next_one[1])
    elseif redis.call("SREM", c.P .. "again", next_one[1]) == 1 then
      redis.call("ZADD", moved, 0, next_one[1])
    else
      redis.call("ZREM", moved, next_one[1])
    end
  end
  redis.call("SET", c.P .. "moving", 1, "PX", L.moving_ms)
  redis.call("XADD", c.P .. "events:" .. c.lane, "*", "v", 1, "site", e.site, "uid", e.uid,
    "kind", "queue_moved")
end
