-- What becomes of an entry whose transition failed: the dead-letter stream has it, and its sender knows.

-- Outside the transition's pcall, so nothing here may fail: Lua passes at most some 8,000 values at once,
-- and an entry may hold any number of fields. A secret is left out: dead letters stay, and people read them.
D.dead_letter = function(c, e, lane, why)
  local entry = redis.call("XRANGE", lane.stream, e.entry, e.entry)[1]
  local fields, most = entry and entry[2] or {}, 2 * L.dead_fields
  if #fields > most then
    why = why .. " (cut: the first " .. L.dead_fields .. " of " .. #fields / 2 .. " fields)"
  end
  for i = 1, math.min(#fields, most), 2 do
    if fields[i] == "secret" then fields[i + 1] = "-" end
  end
  redis.call("XADD", c.P .. "dead", "MAXLEN", "~", L.dead, "*",
    "event", e.id, "error", why, unpack(fields, 1, math.min(#fields, most)))
end

-- Tells the sender of a frame or request that it failed; nothing else of the failed entry is pushed.
D.tell_sender = function(c, e, fields)
  e.out = {}
  if not (fields.client and (fields.n or e.asking)) then return end
  pcall(function()
    if e.asking then
      D.record(e, "A", D.boot_of(fields.client), fields.client, D.head(fields.lang, "internal") .. "}}")
      D.keep(c, e)
      return
    end
    -- The failure may be that this very key cannot be read.
    local lang = redis.pcall("HGET", D.quiet_user_key(e, e.uid), "lang")
    if type(lang) ~= "string" then lang = nil end
    local ref = fields.id and (',"ref":"' .. fields.id .. '"') or ""
    D.push_client(e, "F", fields.client, D.head(lang, "internal") .. ref .. "}}")
    D.keep(c, e)
  end)
end
