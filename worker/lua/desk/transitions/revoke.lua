-- revoke: a user's tokens made until now are void, and their connections end. Idempotent. Later
-- `open`s with such a token are refused as long as one may live; a newer token lets them in.
--
-- fields  prefix site uid keep_s
-- writes  revoked:<uid> (keep_s); u:<uid>, boot:<boot>, and what leaving writes
-- pushes  C 4501 to all connections; see desk/finish.lua for the other side; `revoked` to who asks by a request

T.revoke = function(c, e, a)
  local now_s = D.int(math.floor(tonumber(e.time) / 1000))
  redis.call("SET", e.S .. "revoked:" .. e.uid, now_s, "EX", a.keep_s)
  D.expel(c, e, "4501")
  D.answer(e, a, '{"action":"revoked","payload":{"uid":"' .. e.uid .. '","before":' .. now_s .. "}}")
end
