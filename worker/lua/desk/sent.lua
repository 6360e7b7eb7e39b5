-- What a sender has sent: the ids of their last messages, so that the same one again is stored once and
-- gets the same ack. It is looked up before routing: where a message went was decided the first time.
--
-- Two generations of ids: when the young one is full it becomes the old one, so a lookup reads at most
-- two hashes and forgetting costs nothing. The young one's field `#` (no id looks so) says what would
-- take further commands at every message: how many ids it has, when its TTL was set, and whether there
-- may be an old one.

local sent_key = function(e, generation)
  return e.S .. "sent:" .. e.uid .. generation
end

-- What is kept of the id, or nil; and the note `#`.
local find_sent = function(e, id)
  local sent, note = D.get(sent_key(e, ":0"), id, "#")
  if not sent and (not note or string.sub(note, -1) == "1") then
    sent = redis.call("HGET", sent_key(e, ":1"), id)
  end
  return sent, note
end

local remember_sent = function(e, a, ack, note)
  local key = sent_key(e, ":0")
  local count, since, old = string.match(note or "", "^(%d+) (%d+) (%d)$")
  if not count then -- new, or an earlier version's
    count, old = redis.call("HLEN", key), redis.call("EXISTS", sent_key(e, ":1"))
  end
  count = D.number(count)
  if count >= L.sent then
    redis.call("RENAME", key, sent_key(e, ":1"))
    count, since, old = 0, nil, 1
  end
  local renew = not since or e.time - since > L.sent_renew_ms
  if renew then since = e.time end
  redis.call("HSET", key, a.id, a.digest .. " " .. ack, "#", D.int(count + 1) .. " " .. since .. " " .. old)
  if renew then redis.call("PEXPIRE", key, L.sent_ms) end
end

-- Whether the frame's id is known: then it is answered as it was before, or refused, and the second value is
-- what the transition returns. Else the second value is the note for D.acked.
D.sent_before = function(e, a, lang)
  if not a.id then return false end
  local sent, note = find_sent(e, a.id)
  if not sent then return false, note end
  local digest, ack = string.match(sent, "^(%S+) (.+)$")
  if digest ~= a.digest then
    D.refuse(e, a, lang, "id_reused")
    return true
  end
  D.take(e, a)
  return true, "ACK " .. a.client .. " " .. a.id .. " " .. ack
end

-- Remembers the frame's id, if it has one. Returns what the transition returns.
D.acked = function(e, a, conv, entry, note)
  if not a.id then return end
  local ack = conv .. " " .. entry.seq .. " " .. entry.id .. " " .. entry.time
  remember_sent(e, a, ack, note)
  return "ACK " .. a.client .. " " .. a.id .. " " .. ack
end
