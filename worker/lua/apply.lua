-- apply: the log rule. Only the log changes state; an entry applies once, and only as the next one.
--
-- Takes entries of several lanes of one shard; each lane is judged by itself.
--
-- KEYS   1 the shard's `applied` hash   2… the lanes' streams
-- ARGV   shard prefix, shard, gateway channel prefix, then counts and pairs:
--        number of settings, name, value, …; then for each stream its lane, number of entries, and
--        for each entry stream id, transition, number of fields, name, value, …
-- Returns for each stream a list with one text per entry looked at (less than given when L.touched
-- users are touched: the worker calls again with the rest):
--   OK | ACK <client> <ref> <conversation> <seq> <message id> <ms> | DUP | GAP | DEAD <error>
--   DUP  not newer than `applied`; nothing changed.
--   GAP  not the first entry after `applied` in the stream; nothing changed, the lane ends there.
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
    D.dead_letter(c, e, entry, transition)
    return "DEAD " .. transition
  end
  local done, result = pcall(run, c, e, fields)
  if done then
    D.keep(c, e)
    return result or "OK"
  end
  -- Redis raises either text or a table with the text in `err`.
  local why = type(result) == "table" and result.err or tostring(result)
  D.dead_letter(c, e, entry, why)
  D.tell_sender(c, e, fields)
  return "DEAD " .. why
end

-- Applies entries of one lane, from args[at] on. Returns its answers, and where the next lane begins.
local function apply_lane(c, stream_key, args, at)
  local count = tonumber(args[at + 1])
  c.lane, at = args[at], at + 2
  local last = redis.call("HGET", c.applied, c.lane)
  local stream = redis.call("XRANGE", stream_key, last and ("(" .. last) or "-", "+", "COUNT", count)
  local results, next_entry, ended = {}, 1, false
  for i = 1, count do
    if c.touched >= L.touched then break end
    local id, transition, fields = args[at], args[at + 1]
    fields, at = read_pairs(args, at + 2)
    local entry = stream[next_entry]
    if ended then
      -- Behind a gap: not looked at.
    elseif entry and entry[1] == id then
      results[i] = apply_entry(c, entry, transition, fields)
      last, next_entry = id, next_entry + 1
    elseif last and not D.after(id, last) then
      results[i] = "DUP"
    else
      results[i], ended = "GAP", true
    end
  end
  return results, at
end

local function apply(keys, args)
  local time = redis.call("TIME")
  local c = {
    P = args[1], shard = args[2], channel = args[3],
    applied = keys[1],
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
    out = {}, boots = {}, touched = 0,
  }
  local answers, at = {}, nil
  c.settings, at = read_pairs(args, 4)
  for i = 2, #keys do
    if c.touched >= L.touched then break end
    answers[i - 1], at = apply_lane(c, keys[i], args, at)
  end
  D.publish(c)
  return answers
end

-- allow-oom: what the log has accepted must be applied, or a full memory could never be freed.
redis.register_function { function_name = PREFIX .. "apply", callback = apply, flags = { "allow-oom" } }
