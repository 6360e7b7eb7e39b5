-- open: a socket is there. Idempotent: an `open` that is known already changes nothing. Whoever was
-- lost is back, on whatever connection.
--
-- fields  prefix site uid client lang role
-- reads   fenced: an `open` of a dead gateway changes nothing
-- writes  u:<uid> {conns, lang, lane, role, n:<client>, lost}, boot:<boot> {client: "site uid"},
--         who:<uid>; for who comes back due, free, waiting, and what filling writes
-- pushes  W welcome to the connection; C 4500 when the user has too many; what filling pushes

T.open = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local conns, lost = D.get(key, "conns", "lost")
  conns = conns or ""
  if D.has(conns, a.client) then return end
  if redis.call("ZSCORE", c.P .. "fenced", D.boot_of(a.client)) then return end
  if D.count(conns) >= L.connections then
    D.push_client(e, "C", a.client, "4500")
    return
  end
  redis.call("HSET", key, "conns", D.with(conns, a.client), "lang", a.lang, "lane", c.lane,
    "role", a.role, "n:" .. a.client, 0)
  redis.call("HSET", c.P .. "boot:" .. D.boot_of(a.client), a.client, a.site .. " " .. e.uid)
  D.seen(c, e, e.uid, a.role)
  D.push_client(e, "W", a.client, D.head(a.lang, "welcome") .. ',"client_id":"' .. a.client
    .. '","uid":"' .. e.uid .. '","time":' .. e.time .. "}}")
  if lost then D.come_back(c, e, lost) end
end
