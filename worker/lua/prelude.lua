-- Pure helpers. The library is one Lua chunk: D holds the helpers, T the transitions by name, Q the quick ways of some
-- (lua/apply.lua).
-- The generated part before this file defines
--   N  lang -> notice key -> pieces of the frame's head, to be joined with the place in the queue
--   L  limits named in Rust: connections, words, words_bytes, touched, dead, dead_fields, timers, sites, …
local D, T, Q = {}, {}, {}

-- Values of some fields of a hash, false where absent.
D.get = function(key, ...)
  return unpack(redis.call("HMGET", key, ...))
end

-- An integer as text without an exponent (Lua's own conversion keeps 14 digits).
D.int = function(number)
  return string.format("%d", number)
end

-- A number from a text that we have written ourselves.
D.number = function(text)
  return tonumber(text)
end

-- "1526919030474-55" -> 1526919030474, 55
D.halves = function(id)
  local ms, seq = string.match(id, "^(%d+)-(%d+)$")
  return tonumber(ms), tonumber(seq)
end

-- Whether stream id a comes after stream id b, by both halves as numbers.
D.after = function(a, b)
  local a_ms, a_seq = D.halves(a)
  local b_ms, b_seq = D.halves(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

-- Sets of ids kept as one text with a space after each: few, and read at every message.
local find_id = function(list, id)
  return string.find(" " .. list, " " .. id .. " ", 1, true)
end

D.has = function(list, id)
  return list and find_id(list, id) ~= nil
end

D.with = function(list, id)
  return (list or "") .. id .. " "
end

D.without = function(list, id)
  local from, to = find_id(list, id)
  return from and string.sub(list, 1, from - 1) .. string.sub(list, to) or list
end

D.count = function(list)
  local _, n = string.gsub(list or "", " ", "")
  return n
end

-- The only id of a list, or nil.
D.only = function(list)
  local first = list and string.find(list, " ", 1, true)
  return first and first == #list and string.sub(list, 1, -2) or nil
end

-- Key builders: S is the site's prefix, made in Rust's keys.rs.
D.quiet_user_key = function(e, uid) return e.S .. "u:" .. uid end
D.quiet_conv_key = function(e, conv) return e.S .. "conv:" .. conv end
-- Of these two an App may want to know (desk/talks.lua); a test says who may write by the quiet ones.
D.user_key, D.conv_key = D.quiet_user_key, D.quiet_conv_key
D.log_key = function(e, conv) return e.S .. "log:" .. conv end
D.gone_key = function(e, conv) return e.S .. "gone:" .. conv end
D.list_key = function(e, uid) return e.S .. "convs:" .. uid end
D.who_key = function(e, uid) return e.S .. "who:" .. uid end
D.dm_key = function(e, a, b) return e.S .. "dm:" .. a .. "|" .. b end
D.queue_key = function(e, queue) return e.S .. "q:" .. queue end

-- What an App does before each transition that does not go its quick way.
D.before = function() end

-- Writes what an App has kept for the end of a call. Fails only where nothing could be written at all.
D.save = function() end

-- A timer as a member of `due`; lua/tick.lua reads it. `idle` is of a customer's conversation, `lost`
-- of a user's time to come back.
D.timer = function(e, kind, uid, arg, lane)
  return table.concat({ kind, e.site, uid, arg, lane }, "|")
end

-- The next number of the site: tickets, turns. Strictly increasing.
D.turn = function(e)
  return redis.call("INCR", e.S .. "turn")
end

-- The shard's clock in ms: it stands still while nobody ticks, so an outage ages nobody. Since it shows the last
-- tick's time, what has passed from there to the newest event of the call is added, as much as a tick may
-- add: a time counted from here is never over too early.
D.clock = function(c)
  if c.clock then return c.clock end
  local now, seen = D.get(c.P .. "clock", "now", "seen")
  local newest = 0
  for _, lane in ipairs(c.lanes) do newest = math.max(newest, (D.halves(lane.newest))) end
  local passed = seen and math.min(math.max(newest - tonumber(seen), 0), L.advance_ms) or 0
  c.clock = tonumber(now or 0) + passed
  return c.clock
end

-- The next id of something that this event makes: `<event id>.n`, the same in a replay.
D.make_id = function(e)
  e.made = e.made + 1
  return e.id .. "." .. D.int(e.made)
end
