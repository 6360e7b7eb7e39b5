-- message: words for the other side; kept for the staff while the customer waits.
--
-- fields  prefix site uid client n body id digest conversation
--   body is a JSON string; id the sender's, with a digest of the body
-- writes  u:<uid> {n:<client>}, log:<conv>, conv:<conv> {seq, last, idle, words, bytes},
--         sent:<uid>:0 and :1 (the ids of the last 256 to 512 messages, 24 h)
-- answers ACK for a message with an id, the same again for the same id
-- pushes  message to the other side and to the sender's other connections; still_queued;
--         error id_reused, no_conversation, which_conversation, queue_words_full
--
-- Deduplication comes before routing. Two generations of ids: when the young one is full it
-- becomes the old one, so a lookup reads two hashes and forgetting costs nothing.

local sent_key = function(e, generation)
  return e.S .. "sent:" .. e.uid .. ":" .. generation
end

local find_sent = function(e, id)
  return redis.call("HGET", sent_key(e, 0), id) or redis.call("HGET", sent_key(e, 1), id)
end

local remember_sent = function(e, a, ack)
  if redis.call("HLEN", sent_key(e, 0)) >= L.sent then
    redis.call("RENAME", sent_key(e, 0), sent_key(e, 1))
  end
  redis.call("HSET", sent_key(e, 0), a.id, a.digest .. " " .. ack)
  redis.call("PEXPIRE", sent_key(e, 0), L.sent_ms)
end

-- Routes for the sender: the conversation, or nil and the error code.
local route = function(e, a, duty, convs, conv)
  if duty then return D.meant(e, a, convs) end
  if conv and (not a.conversation or a.conversation == conv) then return conv end
  return nil, "no_conversation"
end

T.message = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns, lang, duty, convs, conv =
    D.get(key, "n:" .. a.client, "conns", "lang", "duty", "convs", "conv")
  if not D.is_next(e, a, n) then return end
  local sent = a.id and find_sent(e, a.id)
  if sent then
    local digest, ack = string.match(sent, "^(%S+) (.+)$")
    if digest ~= a.digest then return D.refuse(e, a, lang, "id_reused") end
    D.take(e, a)
    return "ACK " .. a.client .. " " .. a.id .. " " .. ack
  end
  local to, why = route(e, a, duty, convs, conv)
  if not to then return D.refuse(e, a, lang, why) end
  local to_key = D.conv_key(e, to)
  local state, customer, staff, words, bytes = D.get(to_key, "state", "customer", "staff", "words", "bytes")
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
  local entry = D.log(e, to, from, e.uid, "message", a.body, a.id)
  local frame = D.message_frame(to, from, a.body, entry)
  if state == "waiting" then
    redis.call("HSET", to_key, "words", words, "bytes", bytes)
    D.push_client(e, "F", a.client, D.head(lang, "still_queued") .. ',"conversation":"' .. to .. '"}}')
  elseif not duty then
    redis.call("HSET", to_key, "idle", D.int(D.clock(c) + tonumber(c.settings.idle_ms)))
  end
  D.push_conns(e, other_conns, frame)
  D.push_conns(e, conns, frame, a.client)
  if not a.id then return end
  local ack = to .. " " .. entry.seq .. " " .. entry.id .. " " .. entry.time
  remember_sent(e, a, ack)
  return "ACK " .. a.client .. " " .. a.id .. " " .. ack
end
