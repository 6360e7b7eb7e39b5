-- apply: the log rule. Only the log changes state; an entry applies once, and only as the next one.
--
-- KEYS   1 the lane's stream   2 the shard's `applied` hash
-- ARGV   shard prefix, shard, lane, gateway channel prefix, then counts and pairs:
--        number of settings, name, value, …; then for each entry
--        stream id, transition, number of fields, name, value, …
-- Returns one text per entry looked at (fewer than given when L.touched users are touched: the
-- worker calls again with the rest):
--   OK | ACK <client> <ref> <conversation> <seq> <message id> <ms> | DUP | GAP | DEAD <error>
--   DUP  not newer than `applied`; nothing changed.
--   GAP  not the first entry after `applied` in the stream; nothing changed, the call ends there.
--   DEAD the transition failed: the entry is in the dead-letter stream and will not be tried
--        again, since Lua has no rollback and a retry would double what was written.
-- Acks are published by the worker once this reply has reached it: with appendfsync always it
-- leaves Redis after the fsync.

local function read_pairs(args, at)
  local pairs_read, n = {}, tonumber(args[at])
  for i = at + 1, at + 2 * n, 2 do
    pairs_read[args[i]] = args[i + 1]
  end
  return pairs_read, at + 1 + 2 * n
end

-- Outside pcall, so nothing here may fail: Lua passes at most some 8,000 values at once, and an
-- entry may hold any number of fields.
local function dead_letter(c, e, entry, why)
  local fields, most = entry[2], 2 * L.dead_fields
  if #fields > most then
    why = why .. " (cut: the first " .. L.dead_fields .. " of " .. #fields / 2 .. " fields)"
  end
  redis.call("XADD", c.P .. "dead", "MAXLEN", "~", L.dead, "*",
    "event", e.id, "error", why, unpack(fields, 1, math.min(#fields, most)))
end

-- Tells the sender of a frame that it failed; nothing else of the failed entry is pushed.
local function tell_sender(c, e, fields)
  e.out = {}
  if not (fields.client and fields.n) then return end
  pcall(function()
    -- The failure may be that this very key cannot be read.
    local lang = redis.pcall("HGET", D.user_key(e, e.uid), "lang")
    if type(lang) ~= "string" then lang = nil end
    local ref = fields.id and (',"ref":"' .. fields.id .. '"') or ""
    D.push_client(e, "F", fields.client, D.head(lang, "internal") .. ref .. "}}")
    D.keep(c, e)
  end)
end

local function apply_entry(c, entry, transition, fields)
  local e = {
    id = c.shard .. "." .. c.lane .. "." .. entry[1],
    time = string.match(entry[1], "^%d+"),
    made = 0,
    out = {},
    S = fields.prefix,
    site = fields.site,
    uid = fields.uid,
  }
  redis.call("HSET", c.applied, c.lane, entry[1])
  local run = T[transition]
  if not run then
    dead_letter(c, e, entry, transition)
    return "DEAD " .. transition
  end
  local done, result = pcall(run, c, e, fields)
  if done then
    D.keep(c, e)
    return result or "OK"
  end
  -- Redis raises either text or a table with the text in `err`.
  local why = type(result) == "table" and result.err or tostring(result)
  dead_letter(c, e, entry, why)
  tell_sender(c, e, fields)
  return "DEAD " .. why
end

local function apply(keys, args)
  local time = redis.call("TIME")
  local c = {
    P = args[1], shard = args[2], lane = args[3], channel = args[4],
    applied = keys[2],
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
    out = {}, boots = {}, touched = 0,
  }
  local at
  c.settings, at = read_pairs(args, 5)
  local last = redis.call("HGET", c.applied, c.lane)
  local count = tonumber(args[at])
  local stream = redis.call("XRANGE", keys[1], last and ("(" .. last) or "-", "+", "COUNT", count)
  local results, next_entry = {}, 1
  at = at + 1
  for i = 1, count do
    if c.touched >= L.touched then break end
    local id, transition, fields = args[at], args[at + 1]
    fields, at = read_pairs(args, at + 2)
    if last and not D.after(id, last) then
      results[i] = "DUP"
    elseif not stream[next_entry] or stream[next_entry][1] ~= id then
      results[i] = "GAP"
      break
    else
      results[i] = apply_entry(c, stream[next_entry], transition, fields)
      last, next_entry = id, next_entry + 1
    end
  end
  D.publish(c)
  return results
end

-- allow-oom: what the log has accepted must be applied, or a full memory could never be freed.
redis.register_function { function_name = PREFIX .. "apply", callback = apply, flags = { "allow-oom" } }
