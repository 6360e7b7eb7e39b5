-- What becomes of an entry whose transition failed: the dead-letter stream has it, and its sender knows.

-- The fields of an entry, those that are packed (shared/src/event/packed.rs) as if they were not, so that the letter is
-- read and replayed like any other. What is not well-formed stays as it is.
local fields_of = function(entry)
  local fields = entry and entry[2] or {}
  if #fields ~= 4 or fields[1] ~= "v" or fields[3] ~= "e" then return fields end
  local done, texts = pcall(D.unpack_texts, fields[4])
  if not done or #texts % 2 == 1 then return fields end
  local flat = { "v", "1" }
  for i = 1, #texts do flat[i + 2] = texts[i] end
  return flat
end

-- Outside the transition's pcall, so nothing here may fail: Lua passes at most some 8,000 values at once,
-- and an entry may hold any number of fields. A secret is left out: dead letters stay, and people read them.
D.dead_letter = function(c, e, lane, why)
  local fields, most = fields_of(redis.call("XRANGE", lane.stream, e.entry, e.entry)[1]), 2 * L.dead_fields
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
