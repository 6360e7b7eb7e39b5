-- message: words for the other side; kept for the staff while the customer waits.
--
-- fields  prefix site uid client n body id digest conversation
--   body is a JSON string; id the sender's, with a digest of the body
-- writes  u:<uid> {n:<client>, b}, log:<conv>, conv:<conv> {seq, last, counts, idle, words, bytes},
--         sent:<uid>:0 and :1 (the ids of the last 256 to 512 messages, 24 to 25 h);
--         with words to who has taken left messages u:<uid> {left}, due (desk/left.lua);
--         in a direct conversation what desk/direct.lua writes
-- answers ACK for a message with an id, the same again for the same id
-- pushes  message to the other side and to the sender's other connections; still_queued;
--         error wrong_role, id_reused, no_conversation, which_conversation, queue_words_full, rate_limited;
--         in a direct conversation forbidden, no_user

-- Routes for the sender: their conversation as customer or staff, or nil and the error code.
local route = function(e, a, duty, convs, conv)
  if duty then return D.meant(e, a, convs) end
  if conv and (not a.conversation or a.conversation == conv) then return conv end
  return nil, "no_conversation"
end

T.message = function(c, e, a)
  local key, field = D.user_key(e, e.uid), "n:" .. a.client
  local n, conns, lang, role, duty, convs, conv, left, bucket =
    D.get(key, field, "conns", "lang", "role", "duty", "convs", "conv", "left", "b")
  if not D.is_next(e, a, n) then return end
  role = e.role or role
  if not D.may_speak(role) then return D.refuse(e, a, lang, "wrong_role") end
  local known, note = D.sent_before(e, a, lang)
  if known then return note end
  if D.too_fast(c, e, a, lang, bucket) then return end
  local to, why = route(e, a, duty, convs, conv)
  if not to and a.conversation then
    return D.reply_directly(c, e, a, { conns = conns, lang = lang, role = role, note = note })
  end
  if not to then return D.refuse(e, a, lang, why) end
  local to_key = D.conv_key(e, to)
  local state, customer, staff, words, bytes, seq, prev, counts =
    D.get(to_key, "state", "customer", "staff", "words", "bytes", "seq", "last", "counts")
  local other = duty and customer or staff
  local other_conns = other and redis.call("HGET", D.user_key(e, other), "conns")
  if state == "waiting" then
    words, bytes = tonumber(words) + 1, tonumber(bytes) + #a.body
    if words > L.words or bytes > L.words_bytes then
      return D.refuse(e, a, lang, "queue_words_full")
    end
  end

  D.take(e, a, key, field)
  local from = duty and "staff" or "customer"
  local entry
  counts = D.counted(counts, duty and "b" or "a")
  if state == "waiting" then
    local kept = { "words", words, "bytes", bytes }
    if left then kept[5], kept[6] = "idle", D.left_until(c) end
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id, unpack(kept))
    D.push_client(e, "F", a.client, D.head(lang, "still_queued") .. ',"conversation":"' .. to .. '"}}')
  elseif duty then
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id)
  else
    c.idle = c.idle or D.int(D.clock(c) + tonumber(c.settings.idle_ms))
    entry = D.append(e, to, seq, prev, counts, from, e.uid, "message", a.body, a.id, "idle", c.idle)
    if left then D.answer_left(c, e, to, c.idle, conns) end
  end
  local frame = D.message_frame(to, from, a.body, entry)
  D.push_conns(e, other_conns, frame)
  D.push_conns(e, conns, frame, a.client)
  return D.acked(e, a, to, entry, note)
end
