-- apply: the log rule. Only the log changes state; an entry applies once, and only as the next one.
--
-- Takes entries of several lanes of one shard; each lane is judged by itself.
--
-- KEYS   1 the shard's `applied` hash   2… the lanes' streams
-- ARGV   shard prefix, shard, gateway channel prefix, settings (packed: name, value, …), number of shapes,
--        for each shape (what entries have in common, said once) packed: transition, site, site's prefix, side,
--        names of fields
--        number of hashes of which some fields are read for all entries at once; for each: key, number of
--        fields, names of fields
--        for each stream: lane, number of entries, id of the last of them
--        for each entry of each stream: id, number of its shape, value, …; the first one's, and any other's that does not
--        come behind the one before it here, is `<id><<id of the entry before it>`
--        Packed is each text with its length before it: `4:name5:value`.
-- Returns for each stream a list with one text per entry looked at (less than given when L.touched
-- users are touched: the worker calls again with the rest):
--   OK | ACK <client> <ref> <conversation> <seq> <message id> <ms> | SEQ <seq> | SAY <client> <frame> | DUP | GAP |
--   DEAD <error>; behind ACK and a line's end may stand what the worker may remember (worker/src/app.rs)
--   SEQ  ACK, of which the worker knows all but this
--   DUP  not newer than `applied`; nothing changed.
--   GAP  not the first entry after `applied` in the stream; nothing changed, the lane ends there.
--   DEAD the transition failed: the entry is in the dead-letter stream and will not be tried
--        again, since Lua has no rollback and a retry would double what was written.
-- Acks, and what who asks by a request is told (SAY), are published by the worker once this reply has reached it: with appendfsync always it
-- leaves Redis after the fsync.
--
-- Which entry is the first after `applied` the worker knows, since it has read the stream: XREAD brings
-- entries without a hole, nothing is inserted into a stream, and only what is applied is trimmed. What a
-- stream can lose since then is its end or all of it, so the last entry given must still be there; an
-- XRANGE of one entry, where reading all of them again cost an eighth of the call.
--
-- `applied` is written once, for all lanes, after the entries: what fails outside a transition's pcall is
-- caught, raised again only behind that write, and nothing before it can end the call (a script that has written
-- cannot be killed; with allow-oom no write is refused for memory, and the other refusals came before the
-- script began). On disk and on replicas the call is one MULTI/EXEC, so its order does not matter there.

-- Whether the lane's entries are still in the stream.
local function are_there(lane)
  if lane.there == nil then
    lane.there = #redis.call("XRANGE", lane.stream, lane.newest, lane.newest) == 1
  end
  return lane.there
end

-- The transition has failed: what the worker remembers may not be so from here on.
local function failed(c, e, lane, fields, result)
  -- Redis raises either text or a table with the text in `err`.
  local why = type(result) == "table" and result.err or tostring(result)
  c.unsure = true
  D.dead_letter(c, e, lane, why)
  D.tell_sender(c, e, fields)
  return "DEAD " .. why
end

-- The quick way of a transition, if it has one and the entry says what that takes. It answers nil, and has written
-- nothing, where things are not (any more) as the worker remembers them.
local function apply_quickly(c, lane, id, shape, args, at)
  local done, result = pcall(shape.quick, c, lane, id, shape, args, at)
  if done and not result then return nil end
  lane.last = id
  if done then return result end
  local e = { id = lane.prefix .. id, entry = id, out = {}, S = shape.S, site = shape.site,
    uid = args[at + shape.at.uid], call = c }
  return failed(c, e, lane, { client = args[at + shape.at.client], n = "1", id = args[at + shape.at.id] }, result)
end

local function run(shape, c, e, fields)
  D.before(c, e)
  return shape.run(c, e, fields)
end

local function apply_entry(c, lane, id, shape, args, at)
  if shape.quick and not c.unsure then
    local result = apply_quickly(c, lane, id, shape, args, at)
    if result then return result end
  end
  -- The names are those of a message: with room for them from the start the table does not grow four times.
  local fields = {
    site = shape.site, uid = nil, client = nil, n = nil, body = nil, id = nil, digest = nil, conversation = nil,
  }
  for i = 1, shape.own do
    fields[shape[i]] = args[at + i]
  end
  local e = {
    id = lane.prefix .. id,
    entry = id,
    time = string.match(id, "^%d+"),
    made = 0,
    out = { nil, nil, nil, nil, nil, nil }, -- room for two records
    S = shape.S,
    site = shape.site,
    uid = fields.uid,
    call = c,
  }
  lane.last = id
  if not shape.run then
    D.dead_letter(c, e, lane, shape.transition)
    return "DEAD " .. shape.transition
  end
  local done, result = pcall(run, shape, c, e, fields)
  if done then
    D.keep(c, e)
    return result or "OK"
  end
  return failed(c, e, lane, fields, result)
end

-- An entry's id and that of the entry before it, which is named where it is not the one given before.
local function places(text, previous)
  local cut = string.find(text, "<", 1, true)
  if not cut then return text, previous end
  return string.sub(text, 1, cut - 1), string.sub(text, cut + 1)
end

-- Applies entries of one lane, from args[at] on. Returns its answers, and where the next lane begins.
local function apply_lane(c, lane, args, at)
  local results, ended, id, before = {}, false, nil, nil
  c.lane = lane.number
  for i = 1, lane.count do
    if c.touched >= L.touched then break end
    id, before = places(args[at], id)
    local shape = c.shapes[args[at + 1]]
    if ended then
      -- Behind a gap: not looked at.
    elseif before == lane.last and are_there(lane) then
      results[i] = apply_entry(c, lane, id, shape, args, at + 1)
    elseif not D.after(id, lane.last) then
      results[i], c.unsure = "DUP", true -- somebody else has applied it
    else
      results[i], ended = "GAP", true
    end
    at = at + 2 + shape.count
  end
  return results, at
end

local function apply_lanes(c, args, at)
  local answers = {}
  for i, lane in ipairs(c.lanes) do
    if c.touched >= L.touched then break end
    answers[i], at = apply_lane(c, lane, args, at)
  end
  return answers
end

local function save_applied(c)
  local moved = {}
  for _, lane in ipairs(c.lanes) do
    if lane.last ~= lane.before then
      moved[#moved + 1] = lane.number
      moved[#moved + 1] = lane.last
    end
  end
  if #moved > 0 then redis.call("HSET", c.applied, unpack(moved)) end
end

local function apply(keys, args)
  local c, at = D.call(keys, args)
  local done, result = pcall(apply_lanes, c, args, at)
  save_applied(c)
  D.save(c)
  D.flush_outbox(c)
  if not done then
    pcall(D.publish, c) -- those that are told must not suffer from the one that failed
    error(result, 0)
  end
  D.publish(c)
  return result
end

-- allow-oom: what the log has accepted must be applied, or a full memory could never be freed.
register { function_name = PREFIX .. "apply", callback = apply, flags = { "allow-oom" } }
