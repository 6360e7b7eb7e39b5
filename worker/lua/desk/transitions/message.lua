-- message: words for the other side; kept for the staff while the customer waits.
--
-- fields  prefix site uid client n body id digest conversation
--   body is a JSON string; id the sender's, with a digest of the body
--   The quick way, from a worker that remembers where the sender's words go (desk/talks.lua), also has: mark; old, if
--   there may be older ids of the sender; taken, what desk/taken.lua keeps beside the connection and n; targets,
--   connections, those of a gateway joined by commas, gateways by spaces; number, of the conversation among what the
--   call looks at
-- writes  u:<uid> {n:<client>, b}, log:<conv>, conv:<conv> {seq, last, counts, idle, words, bytes}, or talks and taken
--         instead of these; sent:<uid>:0 and :1 (the ids of the last 256 to 512 messages, 24 to 25 h);
--         with words to who has taken left messages u:<uid> {left}, due (desk/left.lua);
--         in a direct conversation what desk/direct.lua writes
-- answers ACK or SEQ for a message with an id, the same again for the same id
-- pushes  message to the other side and to the sender's other connections; still_queued;
--         error wrong_role, id_reused, no_conversation, which_conversation, queue_words_full, rate_limited;
--         in a direct conversation forbidden, no_user

-- Routes for the sender: their conversation as customer or staff, or nil and the error code.
local route = function(e, a, duty, convs, conv)
  if duty then return D.meant(e, a, convs) end
  if conv and (not a.conversation or a.conversation == conv) then return conv end
  return nil, "no_conversation"
end

-- The words of who waits, kept for the staff; `left`: who need not be here.
local keep_words = function(c, e, a, me, to, held)
  local words, bytes = tonumber(held.words) + 1, tonumber(held.bytes) + #a.body
  if words > L.words or bytes > L.words_bytes then
    return D.refuse(e, a, me.lang, "queue_words_full")
  end
  D.take(e, a)
  local kept = { "words", words, "bytes", bytes }
  if me.left then kept[5], kept[6] = "idle", D.left_until(c) end
  local entry = D.append(e, to, held.seq, held.last, D.counted(held.counts, "a"), "customer", e.uid, "message",
    a.body, a.id, unpack(kept))
  D.push_client(e, "F", a.client, D.head(me.lang, "still_queued") .. ',"conversation":"' .. to .. '"}}')
  D.push_conns(e, me.conns, D.message_frame(to, "customer", a.body, entry), a.client)
  return (D.acked(e, a, to, entry, me.note))
end

-- Words in an open conversation.
local say = function(c, e, a, me, to, held)
  local side = me.duty and "staff" or "customer"
  local other = D.get(D.quiet_user_key(e, me.duty and held.customer or held.staff), "conns")
  D.take(e, a)
  local talk = D.talk(e, to) or D.hold(e, to, e.id .. ".1", held.seq, held.last, held.counts, held.idle)
  local seq, id, prev = D.say(c, e.S, talk, side, e.uid, e.id, e.time, a.body, a.id)
  local entry = { seq = seq, id = id, prev = prev, time = e.time }
  D.tell_hooks(e, to, entry, side, e.uid, "message", a.body)
  if me.left then D.answer_left(c, e, to, c.idle, me.conns) end
  local frame = D.message_frame(to, side, a.body, entry)
  D.push_conns(e, other, frame)
  D.push_conns(e, me.conns, frame, a.client)
  local ack, count, since, old = D.acked(e, a, to, entry, me.note)
  if not ack or e.asking or me.left then return ack end
  local only = not me.duty or D.only(me.convs) == to
  return ack .. D.way(a, talk, side, only, held.at, since, old, count, me.conns, other)
end

T.message = function(c, e, a)
  local me, n, role, conv, bucket = {}, nil, nil, nil, nil
  n, me.conns, me.lang, role, me.duty, me.convs, conv, me.left, bucket = D.get(D.quiet_user_key(e, e.uid),
    "n:" .. a.client, "conns", "lang", "role", "duty", "convs", "conv", "left", "b")
  if not D.is_next(e, a, n) then return end
  role = e.role or role
  if not D.may_speak(role) then return D.refuse(e, a, me.lang, "wrong_role") end
  local known, note = D.sent_before(e, a, me.lang)
  if known then return note end
  if D.too_fast(c, e, a, me.lang, bucket) then return end
  local to, why = route(e, a, me.duty, me.convs, conv)
  me.note, me.role = note, role
  if not to and a.conversation then return D.reply_directly(c, e, a, me) end
  if not to then return D.refuse(e, a, me.lang, why) end
  local held, state = {}, nil
  state, held.customer, held.staff, held.at, held.words, held.bytes, held.seq, held.last, held.counts, held.idle =
    D.get(D.quiet_conv_key(e, to), "state", "customer", "staff", "at", "words", "bytes", "seq", "last", "counts", "idle")
  if state == "waiting" then return keep_words(c, e, a, me, to, held) end
  return say(c, e, a, me, to, held)
end

-- Where everything is as the worker remembers it: nothing to look up, nothing to refuse.
Q.message = function(c, lane, id, shape, args, at)
  local p, S = shape.at, shape.S
  local talk = D.talk_ahead(c, S, args[at + p.number])
  if not talk or talk.mark ~= args[at + p.mark] then return nil end
  local uid, ref, body, targets = args[at + p.uid], args[at + p.id], args[at + p.body], args[at + p.targets]
  local event, time = lane.prefix .. id, string.sub(id, 1, string.find(id, "-", 1, true) - 1)
  local sent = S .. "sent:" .. uid
  if p.old and redis.call("HGET", sent .. ":1", ref) then return nil end
  local seq = D.int(talk.seq + 1)
  -- The same id again is answered by the other way. This is the first write.
  local kept = args[at + p.digest] .. " " .. talk.id .. " " .. seq .. " " .. event .. ".1 " .. time
  if redis.call("HSETNX", sent .. ":0", ref, kept) == 0 then return nil end
  D.take_quickly(c, S, uid, args[at + p.client], args[at + p.n], args[at + p.taken])
  local done, why, made, prev = pcall(D.say, c, S, talk, shape.side, uid, event, time, body, ref)
  if not done then -- nothing was said, so nothing may be acknowledged later
    redis.call("HDEL", sent .. ":0", ref)
    error(why, 0)
  end
  if D.hooks_of(c, shape.site, "m") then
    local e = { id = event, time = time, S = S, site = shape.site, uid = uid, call = c }
    local entry = { seq = seq, id = made, prev = prev, time = time }
    D.tell_hooks(e, talk.id, entry, shape.side, uid, "message", body)
  end
  local rest = '","seq":' .. seq .. ',"id":"' .. made .. '","prev":"' .. prev .. '","time":' .. time .. "}}"
  if targets == "" then return "SEQ " .. seq end
  if not string.find(targets, " ", 1, true) then
    D.push_said(c, event, targets, shape.side, body, talk.id, rest)
  else
    for group in string.gmatch(targets, "%S+") do
      D.push_said(c, event, group, shape.side, body, talk.id, rest)
    end
  end
  return "SEQ " .. seq
end
