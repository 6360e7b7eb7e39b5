-- open: a socket is there. Idempotent: an `open` that is known already changes nothing. Whoever was
-- lost is back, on whatever connection.
--
-- fields  prefix site uid client lang role iat name
--   iat and name are those of a signed token: when it was made (s), display name (a JSON string)
-- reads   fenced: an `open` of a dead gateway changes nothing; revoked:<uid>
-- writes  u:<uid> {conns, lang, lane, role, iat, display, n:<client>, lost}, boot:<boot> {client: "site uid"},
--         who:<uid>; for who comes back due, free, waiting, away, and what filling writes;
--         where the role has changed what leaving writes
-- pushes  W welcome to the connection; C 4500 when the user has too many, 4501 when the token is
--         older than a revocation; C 4401 to those with an older token of another role; what filling pushes

-- Why a signed `open` is refused, or nil. A user has one role: the newest token's.
local refused = function(c, e, a, role, iat)
  if D.is_revoked(e, e.uid, a.iat) then return "4501" end
  if not role or role == a.role then return nil end
  if tonumber(a.iat) < tonumber(iat or 0) then return "4401" end
  D.expel(c, e, "4401")
  return nil
end

T.open = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local conns, lost, role, iat = D.get(key, "conns", "lost", "role", "iat")
  if D.has(conns, a.client) then return end
  if redis.call("ZSCORE", c.P .. "fenced", D.boot_of(a.client)) then return end
  local why = a.iat and refused(c, e, a, role, iat)
  if a.iat and role ~= a.role then conns, lost = D.get(key, "conns", "lost") end
  conns = conns or ""
  if not why and D.count(conns) >= L.connections then why = "4500" end
  if why then
    D.push_client(e, "C", a.client, why)
    return
  end
  redis.call("HSET", key, "conns", D.with(conns, a.client), "lang", a.lang, "lane", c.lane,
    "role", a.role, "n:" .. a.client, 0)
  if a.iat then
    redis.call("HSET", key, "iat", math.max(tonumber(a.iat), tonumber(iat or 0)))
    if a.name then redis.call("HSET", key, "display", a.name) end
  end
  redis.call("HSET", c.P .. "boot:" .. D.boot_of(a.client), a.client, a.site .. " " .. e.uid)
  D.seen(c, e, e.uid, a.role)
  D.push_client(e, "W", a.client, D.head(a.lang, "welcome") .. ',"client_id":"' .. a.client
    .. '","uid":"' .. e.uid .. '","time":' .. e.time .. "}}")
  if lost then D.come_back(c, e, lost) end
end
