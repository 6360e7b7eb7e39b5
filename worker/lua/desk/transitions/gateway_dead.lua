-- gateway_dead: a gateway is dead. From here on its `open`s are refused, and a `close` for each of
-- its connections goes into their users' lanes, where it queues behind what they did before.
-- Continues in the same lane while there are more.
--
-- fields  prefix site uid boot
-- writes  fenced, boot:<boot>, events:<lane>
-- pushes  nothing: nobody listens there

T.gateway_dead = function(c, e, a)
  local key = c.P .. "boot:" .. a.boot
  redis.call("ZADD", c.P .. "fenced", D.int(c.now), a.boot)
  local room = math.max(L.touched - c.touched, 1)
  local held = redis.call("HRANDFIELD", key, room, "WITHVALUES")
  for i = 1, #held, 2 do
    local client, site, uid = held[i], string.match(held[i + 1], "^(%S+) (%S+)$")
    local lane = redis.call("HGET", c.P .. "site:" .. site .. ":u:" .. uid, "lane")
    if lane then
      redis.call("XADD", c.P .. "events:" .. lane, "*", "v", 1, "site", site, "uid", uid,
        "kind", "close", "client", client, "clean", 0)
    end
    redis.call("HDEL", key, client)
    c.touched = c.touched + 1
  end
  if redis.call("EXISTS", key) == 1 then
    redis.call("XADD", c.P .. "events:" .. c.lane, "*", "v", 1, "site", e.site, "uid", e.uid,
      "kind", "gateway_dead", "boot", a.boot)
  end
end
