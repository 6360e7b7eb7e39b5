-- What somebody has done under ids of their own, so that the same one again is done once and answered as before.
-- `kind` is `sent` for messages, `req` for requests of the HTTP API.
--
-- Two generations of ids: when the young one is full it becomes the old one, so a lookup reads at most
-- two hashes and forgetting costs nothing. The young one's field `#` (no id looks so) says what would
-- take further commands each time: when its TTL was set, and whether there may be an old one.

local key_of = function(e, kind, uid, generation)
  return e.S .. kind .. ":" .. uid .. generation
end

-- What is kept of the id, or nil; and the note `#`.
D.known = function(e, kind, uid, id)
  local kept, note = D.get(key_of(e, kind, uid, ":0"), id, "#")
  if not kept and (not note or string.sub(note, -1) == "1") then
    kept = redis.call("HGET", key_of(e, kind, uid, ":1"), id)
  end
  return kept, note
end

-- Keeps something of the id; `note` is what D.known said. Returns how many ids the young generation has now, when its
-- TTL was set, and 1 if there may be an old one, else 0.
D.remember = function(e, kind, uid, id, value, note)
  local key = key_of(e, kind, uid, ":0")
  local since, old = string.match(note or "", "^(%d+) (%d)$")
  local count = since and redis.call("HLEN", key) - 1 or 0
  if not since then old = redis.call("EXISTS", key_of(e, kind, uid, ":1")) end
  if count >= L.sent then
    redis.call("RENAME", key, key_of(e, kind, uid, ":1"))
    count, since, old = 0, nil, 1
  end
  local renew = not since or e.time - since > L.sent_renew_ms
  if renew then
    since = e.time
    redis.call("HSET", key, id, value, "#", since .. " " .. old)
    redis.call("PEXPIRE", key, L.sent_ms)
  else
    redis.call("HSET", key, id, value)
  end
  return count + 1, since, old
end
