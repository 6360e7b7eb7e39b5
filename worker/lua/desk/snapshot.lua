-- How a user finds everything again: what `resume` is answered with. It is made inside the transition,
-- so it stands in the order of the log: every push after it is about something newer.
--
-- Bounds, so that a call's pushes fit a socket's queue and keep nobody waiting: L.snapshot conversations,
-- L.looked names looked at, L.page entries and L.page_bytes a conversation, L.resume_bytes of entries in
-- all. What does not fit is announced by `more` and asked for by `conversations` and `history`.

-- The place of a customer who waits, or nil.
local place = function(e, conv)
  if conv.state ~= "waiting" then return nil end
  local queue = redis.call("HGET", D.quiet_user_key(e, conv.customer), "queue")
  local rank = queue and redis.call("ZRANK", D.queue_key(e, queue), conv.customer)
  return rank and rank + 1 or nil
end

local describe = function(e, id, conv, side)
  local own = side == "a" and "a" or "b" -- earlier staff were on side b
  local peer = own == "a" and "b" or "a"
  local with = D.other(conv, own)
  local name = side == "a" and conv.staff and redis.call("HGET", D.quiet_user_key(e, conv.staff), "name")
  local read, unread, delivered = 0, 0, 0
  if side ~= "past" then
    read, unread, delivered = D.mark(conv["r" .. own]), D.unread(conv, own), tonumber(conv["d" .. own] or 0)
  end
  local queue = place(e, conv)
  return '{"conversation":"' .. id .. '","state":"' .. conv.state .. '"'
    .. (with and ',"with":"' .. with .. '"' or "")
    .. (name and ',"name":' .. name or "")
    .. ',"seq":' .. (conv.seq or 0)
    .. (conv.last and ',"id":"' .. conv.last .. '"' or "")
    .. ',"unread":' .. D.int(unread) .. ',"read":' .. D.int(read)
    .. ',"delivered":' .. D.int(delivered)
    .. ',"peer_read":' .. D.int((D.mark(conv["r" .. peer])))
    .. ',"peer_delivered":' .. D.int(tonumber(conv["d" .. peer] or 0))
    .. (queue and ',"queue":' .. D.int(queue) or "") .. "}"
end

-- The user's conversations as JSON: what they are in now, then what changed last. Returns the list, and
-- whether there are more.
local conversations = function(e, conv, convs)
  local list, seen = {}, {}
  local put = function(id)
    if seen[id] then return true end
    seen[id] = true
    local known = D.conv(e, id)
    local side = known and D.reader(known, e.uid)
    if not side then return true end
    if #list == L.snapshot then return false end
    list[#list + 1] = describe(e, id, known, side)
    return true
  end
  for id in string.gmatch((conv and conv .. " " or "") .. (convs or ""), "%S+") do put(id) end
  local newest = redis.call("ZRANGE", D.list_key(e, e.uid), 0, L.looked, "REV")
  for i, id in ipairs(newest) do
    if i > L.looked or not put(id) then return list, true end
  end
  return list, false
end

-- The frames that answer `resume`, the snapshot first, and how many bytes they have. `positions` are
-- `<conversation> <seq> <id>`, joined by commas; the id is absent for seq 0.
D.snapshot_frames = function(e, positions)
  local conv, convs, duty, name, max =
    D.get(D.quiet_user_key(e, e.uid), "conv", "convs", "duty", "name", "max")
  local list, more = conversations(e, conv, convs)
  local frames = {
    '{"action":"snapshot","payload":{"time":' .. e.time .. ',"uid":"' .. e.uid .. '"'
      .. (duty and ',"duty":{"name":' .. name .. ',"max":' .. max .. "}" or "")
      .. ',"conversations":[' .. table.concat(list, ",") .. '],"more":' .. tostring(more) .. "}}",
  }
  local total, left = #frames[1], L.resume_bytes
  for position in string.gmatch(positions or "", "[^,]+") do
    if #frames > L.positions then break end
    local id, seq, entry = string.match(position, "^(%S+) (%d+) ?(%S*)$")
    local frame, bytes = D.history_frame(e, id, seq, entry, math.min(left, L.page_bytes))
    frames[#frames + 1] = frame
    total, left = total + #frame, left - bytes
  end
  return frames, total
end
