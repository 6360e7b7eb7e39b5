-- What outlives connections: who belongs to a conversation, and how far they have read it.
--
-- A conversation has two sides: a is the customer, or the first member of a direct conversation; b is
-- the staff member, or the second. `past` names earlier staff, the latest last: they may read it.
--   counts   "<messages of a> <messages of b>": in the hash up to now, in each entry of the log up to it
--   da, db   up to which seq a and b have been delivered
--   ra, rb   "<seq> <messages of the other side up to it>" that a and b have read
--   d:<uid>, r:<uid>   the same of earlier staff
--   renewed  when the expiry of a direct conversation was set; see desk/direct.lua

local FIELDS = {
  "state", "customer", "staff", "a", "b", "past", "seq", "last", "counts", "da", "db", "ra", "rb", "recalls", "renewed",
}

-- What each message changes of an open conversation, while it is kept in S talks (desk/talks.lua); else nil.
D.talk = function(e, id)
  local kept = redis.call("HGET", e.S .. "talks", id)
  return kept and D.talk_of(id, kept)
end

-- The same from its text; nil for false.
D.talk_of = function(id, text)
  if not text then return nil end
  local mark, seq, last, a, b, idle = string.match(text, "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+)$")
  return {
    id = id, mark = mark, last = last, idle = idle, seq = D.number(seq), a = D.number(a), b = D.number(b),
  }
end

-- A conversation's fields by name, false where absent; nil for one that does not exist.
D.conv = function(e, id)
  local values, conv = redis.call("HMGET", D.quiet_conv_key(e, id), unpack(FIELDS)), {}
  if not values[1] then return nil end
  for i, name in ipairs(FIELDS) do conv[name] = values[i] end
  local talk = conv.state == "open" and not conv.seq and D.talk(e, id)
  if talk then
    conv.seq, conv.last, conv.counts = D.int(talk.seq), talk.last, D.int(talk.a) .. " " .. D.int(talk.b)
  end
  return conv
end

-- The side of a member, "a" or "b", or nil. The one rule of who may write.
D.member = function(conv, uid)
  if conv.customer == uid or conv.a == uid then return "a" end
  if conv.staff == uid or conv.b == uid then return "b" end
end

-- The same, or "past" for earlier staff. The one rule of who may read.
D.reader = function(conv, uid)
  return D.member(conv, uid) or (conv.past and D.has(conv.past, uid) and "past") or nil
end

-- The conversation that a user names and is a member of, and their side; or nil and the error code. To
-- strangers it says no more than of one that does not exist.
D.mine = function(e, uid, id)
  local conv = D.conv(e, id)
  local side = conv and D.member(conv, uid)
  if side then return conv, side end
  return nil, conv and D.reader(conv, uid) and "forbidden" or "no_conversation"
end

-- Who is on the other side: a uid, or nil while nobody is.
D.other = function(conv, side)
  if side == "a" then return conv.staff or conv.b or nil end
  return conv.customer or conv.a or nil
end

-- How many messages each side has written, from a text "<a> <b>".
D.counts = function(text)
  local a, b = string.match(text or "", "^(%d+) (%d+)$")
  return tonumber(a or 0), tonumber(b or 0)
end

-- The text with one more message of a side.
D.counted = function(text, side)
  local a, b = string.match(text or "", "^(%d+) (%d+)$")
  a, b = a or "0", b or "0"
  if side == "a" then return D.int(D.number(a) + 1) .. " " .. b end
  return a .. " " .. D.int(D.number(b) + 1)
end

-- A read mark: its seq, and how many messages of the other side it covers.
D.mark = function(text)
  local seq, count = string.match(text or "", "^(%d+) (%d+)$")
  return tonumber(seq or 0), tonumber(count or 0)
end

-- How many messages of the other side a side has not read.
D.unread = function(conv, side)
  local a, b = D.counts(conv.counts)
  local _, seen = D.mark(conv["r" .. side])
  return (side == "a" and b or a) - seen
end

-- A staff member leaves a conversation that goes on: they are earlier staff, and their marks are kept
-- for when they take it over again. Who left longest ago is forgotten at the bound.
D.part = function(key, staff)
  local past, delivered, read = D.get(key, "past", "db", "rb")
  past = D.with(D.without(past or "", staff), staff)
  local oldest = D.count(past) > L.past and string.match(past, "^%S+")
  if oldest then
    past = D.without(past, oldest)
    redis.call("HDEL", key, "d:" .. oldest, "r:" .. oldest)
  end
  redis.call("HDEL", key, "staff", "at", "db", "rb")
  redis.call("HSET", key, "past", past, "d:" .. staff, delivered or 0, "r:" .. staff, read or "0 0")
end

-- Earlier staff take a conversation over again; anybody else begins without marks.
D.rejoin = function(key, staff)
  local delivered, read = D.get(key, "d:" .. staff, "r:" .. staff)
  if not delivered then return end
  redis.call("HDEL", key, "d:" .. staff, "r:" .. staff)
  redis.call("HSET", key, "db", delivered, "rb", read)
end
