-- staff_online: take customers; again: update name and max. The name is by default that of the token.
--
-- fields  prefix site uid client n name max
-- writes  u:<uid> {duty, name, max, open, convs, turn}, duty, free, sites, and what filling writes
-- pushes  on_duty to the staff member; what filling pushes; error wrong_role, bad_max

T.staff_online = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns, lang, role, duty, conv, name, max, display =
    D.get(key, "n:" .. a.client, "conns", "lang", "role", "duty", "conv", "name", "max", "display")
  if not D.is_next(e, a, n) then return end
  if not D.may_serve(role) or conv then return D.refuse(e, a, lang, "wrong_role") end
  local wanted = tonumber(a.max or 1)
  if wanted < 1 or wanted > tonumber(c.settings.max_per_staff) then
    return D.refuse(e, a, lang, "bad_max")
  end
  D.take(e, a)
  name, max = a.name or name or display or c.settings.default_name, a.max or max or "1"
  redis.call("HSET", key, "name", name, "max", max)
  if not duty then
    local turn = D.turn(e)
    redis.call("HSET", key, "duty", turn, "open", 0, "convs", "", "turn", turn)
    D.place_duty(e, e.uid, turn)
    redis.call("SADD", c.P .. "sites", e.site)
  end
  D.place_staff(e, e.uid)
  D.push_conns(e, conns, D.head(lang, "on_duty") .. ',"name":' .. name .. ',"max":' .. max .. "}}")
  D.fill(c, e)
end
