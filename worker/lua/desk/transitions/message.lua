-- message: words for the other side; kept for the staff while the customer waits.
--
-- fields  prefix site uid client n body id digest conversation
--   body is a JSON string; id the sender's, with a digest of the body
-- writes  u:<uid> {n:<client>, b}, log:<conv>, conv:<conv> {seq, last, counts, idle, words, bytes},
--         sent:<uid>:0 and :1 (the ids of the last 256 to 512 messages, 24 to 25 h)
-- answers ACK for a message with an id, the same again for the same id
-- pushes  message to the other side and to the sender's other connections; still_queued;
--         error id_reused, no_conversation, which_conversation, queue_words_full, rate_limited
--
-- Deduplication comes before routing. Two generations of ids: when the young one is full it
-- becomes the old one, so a lookup reads at most two hashes and forgetting costs nothing. The young
-- one's field `#` (no id looks so) says what would take further commands at every message: how many
-- ids it has, when its TTL was set, and whether there may be an old one.

local sent_key = function(e, generation)
  return e.S .. "sent:" .. e.uid .. ":" .. generation
end

-- What is kept of the id, or nil; and the note `#`.
local find_sent = function(e, id)
  local sent, note = D.get(sent_key(e, 0), id, "#")
  if not sent and (not note or string.sub(note, -1) == "1") then
    sent = redis.call("HGET", sent_key(e, 1), id)
  end
  return sent, note
end

local remember_sent = function(e, a, ack, note)
  local key = sent_key(e, 0)
  local count, since, old = string.match(note or "", "^(%d+) (%d+) (%d)$")
  if not count then -- new, or an earlier version's
    count, old = redis.call("HLEN", key), redis.call("EXISTS", sent_key(e, 1))
  end
  count = tonumber(count)
  if count >= L.sent then
    redis.call("RENAME", key, sent_key(e, 1))
    count, since, old = 0, nil, 1
  end
  local renew = not since or tonumber(e.time) - tonumber(since) > L.sent_renew_ms
  if renew then since = e.time end
  redis.call("HSET", key, a.id, a.digest .. " " .. ack, "#", count + 1 .. " " .. since .. " " .. old)
  if renew then redis.call("PEXPIRE", key, L.sent_ms) end
end

-- Routes for the sender: the conversation, or nil and the error code.
local route = function(e, a, duty, convs, conv)
  if duty then return D.meant(e, a, convs) end
  if conv and (not a.conversation or a.conversation == conv) then return conv end
  return nil, "no_conversation"
end

T.message = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns, lang, duty, convs, conv, bucket =
    D.get(key, "n:" .. a.client, "conns", "lang", "duty", "convs", "conv", "b")
  if not D.is_next(e, a, n) then return end
  local after = D.too_fast(c, e, a, bucket)
  if after then return D.refuse(e, a, lang, "rate_limited", after) end
  local sent, note
  if a.id then sent, note = find_sent(e, a.id) end
  if sent then
    local digest, ack = string.match(sent, "^(%S+) (.+)$")
    if digest ~= a.digest then return D.refuse(e, a, lang, "id_reused") end
    D.take(e, a)
    return "ACK " .. a.client .. " " .. a.id .. " " .. ack
  end
  local to, why = route(e, a, duty, convs, conv)
  if not to then return D.refuse(e, a, lang, why) end
  local to_key = D.conv_key(e, to)
  local state, customer, staff, words, bytes, seq, prev, counts =
    D.get(to_key, "state", "customer", "staff", "words", "bytes", "seq", "last", "counts")
  local other = duty and customer or staff
  local other_conns = other and D.get(D.user_key(e, other), "conns")
  if state == "waiting" then
    words, bytes = tonumber(words) + 1, tonumber(bytes) + #a.body
    if words > L.words or bytes > L.words_bytes then
      return D.refuse(e, a, lang, "queue_words_full")
    end
  end

  D.take(e, a)
  local from = duty and "staff" or "customer"
  local entry
  counts = D.counted(counts, duty and "b" or "a")
  if state == "waiting" then
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id,
      "words", words, "bytes", bytes)
    D.push_client(e, "F", a.client, D.head(lang, "still_queued") .. ',"conversation":"' .. to .. '"}}')
  elseif duty then
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id)
  else
    c.idle = c.idle or D.int(D.clock(c) + tonumber(c.settings.idle_ms))
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id, "idle", c.idle)
  end
  local frame = D.message_frame(to, from, a.body, entry)
  D.push_conns(e, other_conns, frame)
  D.push_conns(e, conns, frame, a.client)
  if not a.id then return end
  local ack = to .. " " .. entry.seq .. " " .. entry.id .. " " .. entry.time
  remember_sent(e, a, ack, note)
  return "ACK " .. a.client .. " " .. a.id .. " " .. ack
end
