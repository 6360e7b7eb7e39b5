-- The conversation's log: a stream whose ids are `<seq>-0`, so Redis itself refuses a hole's
-- opposite, a seq twice. Everything visible in a conversation has an entry.

-- Appends the entry that follows number `seq` with id `prev` (nil at the beginning) and counts it in
-- the conversation, together with further fields of that hash. `counts` is how many messages each side
-- has written with this one; `kind` is message, assigned, ended, requeued or
-- recalled.
-- Returns {seq, id, prev, time}.
D.append = function(e, conv, seq, prev, counts, from, uid, kind, value, ref, ...)
  local entry = {
    seq = D.int(D.number(seq or "0") + 1), id = D.make_id(e), prev = prev or nil, time = e.time,
  }
  D.write_entry(D.log_key(e, conv), entry.seq, from, uid, entry.id, entry.time, counts, kind, value, ref)
  redis.call("HSET", D.conv_key(e, conv), "seq", entry.seq, "last", entry.id, "counts", counts, ...)
  D.tell_hooks(e, conv, entry, from, uid, kind, value)
  return entry
end

-- Adds a message to the log and the talk. `side` is customer or staff, `event` the id of its event. Returns seq, id and
-- predecessor.
D.say = function(c, S, talk, side, uid, event, time, body, ref)
  local seq, id, prev = D.int(talk.seq + 1), event .. ".1", talk.last
  local a, b, idle = talk.a, talk.b, talk.idle
  if side == "customer" then
    c.idle = c.idle or D.int(D.clock(c) + tonumber(c.settings.idle_ms))
    a, idle = a + 1, c.idle
  else
    b = b + 1
  end
  D.write_entry(S .. "log:" .. talk.id, seq, side, uid, id, time, D.int(a) .. " " .. D.int(b), "message", body, ref)
  talk.seq, talk.last, talk.a, talk.b, talk.idle, talk.said = talk.seq + 1, id, a, b, idle, true
  return seq, id, prev
end

-- As D.append, for what is no message, by who does not know how long the log is.
D.log = function(e, conv, from, uid, kind, value)
  local seq, prev, counts = D.get(D.conv_key(e, conv), "seq", "last", "counts")
  return D.append(e, conv, seq, prev, counts or "0 0", from, uid, kind, value, nil)
end

-- The fields of an entry as a stream has it, by name.
D.fields = function(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end

-- The fields of the entry at a place, or nil.
D.entry = function(e, conv, seq)
  local place = D.int(seq) .. "-0"
  local entry = redis.call("XRANGE", D.log_key(e, conv), place, place)[1]
  return entry and D.fields(entry)
end

-- Writes an entry of the log.
D.write_entry = function(key, seq, from, uid, id, time, counts, kind, value, ref)
  if ref then
    redis.call("XADD", key, seq .. "-0", "from", from, "uid", uid, "id", id, "time", time,
      "counts", counts, kind, value, "ref", ref)
  else
    redis.call("XADD", key, seq .. "-0", "from", from, "uid", uid, "id", id, "time", time,
      "counts", counts, kind, value)
  end
end

-- The last messages of a conversation, for a staff member who takes it over: at most L.words, and no more
-- than L.push_bytes of them (but always the last one). `recalls` is how many messages were recalled:
-- those come without their words. Returns how many bytes it pushed.
D.push_words = function(e, conv, conns, recalls)
  -- Entries that are no messages are few: one per assignment and requeue, and per recalled message, so
  -- the messages are among twice as many entries, or three times; of one more only the id is needed,
  -- as the predecessor of the first.
  local count = (recalls and 3 or 2) * L.words + 1
  local gone_key = recalls and D.gone_key(e, conv)
  local newest = redis.call("XREVRANGE", D.log_key(e, conv), "+", "-", "COUNT", count)
  local frames, before = {}, nil
  if #newest == count then before = table.remove(newest)[2][6] end
  for i = #newest, 1, -1 do
    local f = D.fields(newest[i])
    if f.message then
      local seq = string.match(newest[i][1], "^%d+")
      local gone = recalls and redis.call("HGET", gone_key, seq)
      frames[#frames + 1] = D.message_frame(conv, f.from, not gone and f.message,
        { seq = seq, id = f.id, prev = before, time = f.time })
    end
    before = f.id
  end
  local first, bytes = #frames + 1, 0
  while first > 1 and #frames - first + 1 < L.words do
    bytes = bytes + #frames[first - 1]
    if bytes > L.push_bytes and first <= #frames then break end
    first = first - 1
  end
  local pushed = 0
  for i = first, #frames do
    D.push_conns(e, conns, frames[i])
    pushed = pushed + #frames[i]
  end
  return pushed
end
