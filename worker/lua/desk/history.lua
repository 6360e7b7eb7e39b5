-- Entries of conversations' logs as `history` frames, for who resumes. gateway/lua/entries.lua and
-- gateway/src/reads/entry.rs make the same JSON for who asks later.
--
-- A position (seq, id) names the last entry that a client has. If the log has another one there, or
-- none, then Redis has lost writes since: the client is told `reset` and gets the newest page.

local STEP = 16 -- entries read at once
-- Fields of an entry by kind, as they are joined into JSON; a message is a JSON string already.
local VALUE = {
  message = function(value) return ',"message":' .. value end,
  recalled = function(value) return ',"of":' .. value end,
  ended = function(value) return ',"reason":"' .. value .. '"' end,
  requeued = function(value) return ',"reason":"' .. value .. '"' end,
  assigned = function() return "" end,
}

-- The fields of a raw entry by name.
local fields_of = function(raw)
  local f = { seq = string.match(raw[1], "^%d+") }
  for i = 1, #raw[2], 2 do f[raw[2][i]] = raw[2][i + 1] end
  return f
end

-- The JSON of an entry. Who has recalled it or may see it all the same asks for `history`.
local entry_json = function(f, prev, gone)
  local kind
  for name in pairs(VALUE) do
    if f[name] then kind = name end
  end
  local json = { '{"seq":', f.seq, ',"id":"', f.id, '"' }
  local put = function(...)
    for _, piece in ipairs({ ... }) do json[#json + 1] = piece end
  end
  if prev ~= "" then put(',"prev":"', prev, '"') end
  put(',"time":', f.time, ',"kind":"', kind, '","from":"', f.from, '","uid":"', f.uid, '"')
  if kind == "message" and gone then
    put(',"recalled":true}')
  else
    put(VALUE[kind](f[kind]), "}")
  end
  return table.concat(json)
end

-- Of these entries the recalled ones: seq -> true.
local recalled_among = function(e, id, conv, entries)
  local gone, seqs = {}, {}
  if tonumber(conv.recalls or 0) == 0 or #entries == 0 then return gone end
  for i, f in ipairs(entries) do seqs[i] = f.seq end
  for i, mark in ipairs(redis.call("HMGET", e.S .. "gone:" .. id, unpack(seqs))) do
    if mark then gone[seqs[i]] = true end
  end
  return gone
end

-- Entries from a place on, exclusive, as JSON, oldest first; `prev` is the id there. At least one, but
-- for that at most L.page and `room` bytes. Returns the list, its bytes, and whether there are more.
local read_on = function(e, id, conv, seq, prev, room)
  local list, bytes, from = {}, 0, seq == "0" and "-" or "(" .. seq .. "-0"
  while true do
    local raws = redis.call("XRANGE", D.log_key(e, id), from, "+", "COUNT", STEP)
    local entries = {}
    for i, raw in ipairs(raws) do entries[i] = fields_of(raw) end
    local gone = recalled_among(e, id, conv, entries)
    for _, f in ipairs(entries) do
      local json = entry_json(f, prev, gone[f.seq])
      if #list > 0 and (#list == L.page or bytes + #json > room) then return list, bytes, true end
      list[#list + 1], bytes, prev = json, bytes + #json, f.id
    end
    if #raws < STEP then return list, bytes, false end
    from = "(" .. raws[STEP][1]
  end
end

-- The newest entries in the same way, with `more` if there are older ones.
local read_back = function(e, id, conv, room)
  local list, bytes, from, later = {}, 0, "+", nil
  local put = function(f, prev)
    local json = entry_json(f, prev, recalled_among(e, id, conv, { f })[f.seq])
    if #list > 0 and (#list == L.page or bytes + #json > room) then return false end
    table.insert(list, 1, json)
    bytes = bytes + #json
    return true
  end
  while true do
    local raws = redis.call("XREVRANGE", D.log_key(e, id), from, "-", "COUNT", STEP)
    for _, raw in ipairs(raws) do
      local f = fields_of(raw)
      -- Only the entry before one says what its `prev` is.
      if later and not put(later, f.id) then return list, bytes, true end
      later = f
    end
    if #raws < STEP then
      return list, bytes, later ~= nil and not put(later, "")
    end
    from = "(" .. raws[STEP][1]
  end
end

-- The `history` frame for a client that has seen a conversation up to (seq, id); `room` bytes for its
-- entries, 0 for none. Who may not read it learns no more than that it is not theirs.
D.history_frame = function(e, conversation, seq, id, room)
  local conv = D.conv(e, conversation)
  if conv and not D.reader(conv, e.uid) then conv = nil end
  local list, bytes, more, reset = {}, 0, false, conv == nil
  if conv and seq ~= "0" and (conv.seq ~= seq or conv.last ~= id) then
    local place = seq .. "-0"
    local there = redis.call("XRANGE", D.log_key(e, conversation), place, place)[1]
    reset = not there or fields_of(there).id ~= id
  end
  if conv and room <= 0 then
    more = reset or conv.seq ~= seq
  elseif conv and reset then
    list, bytes, more = read_back(e, conversation, conv, room)
  elseif conv and (conv.seq or "0") ~= seq then
    list, bytes, more = read_on(e, conversation, conv, seq, id, room)
  end
  return '{"action":"history","payload":{"conversation":"' .. conversation .. '","entries":['
    .. table.concat(list, ",") .. '],"more":' .. tostring(more)
    .. (reset and ',"reset":true' or "") .. "}}", bytes
end
