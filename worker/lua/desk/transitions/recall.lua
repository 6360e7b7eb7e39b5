-- recall: takes a message of one's own back, for both sides and for who reads the log later. Again: the
-- same answer. Who wrote it may be earlier staff by now, and the conversation over.
--
-- fields  prefix site uid client n conversation seq message id
--   message is the id that the message must have
-- writes  u:<uid> {n:<client>, b}, log:<conv>, conv:<conv> {seq, last, counts, recalls}, gone:<conv>
-- pushes  recalled to both sides and to the sender's connections;
--         error wrong_role, no_conversation, no_message, forbidden, recall_expired, rate_limited
--
-- gone:<conv> has for each recalled place the seq of its `recalled` entry, and the TTL of the log. The
-- words stay in the log: streams do not change.

local frame_head = function(a, entry, message)
  return '{"action":"recalled","payload":{"conversation":"' .. a.conversation .. '","of":' .. a.seq
    .. ',"of_id":"' .. message.id .. '","uid":"' .. message.uid .. '"' .. D.tail(entry)
end

-- The frame to who asked; `ref` is their id of it.
local answer = function(e, a, head)
  D.push_client(e, "F", a.client, head .. (a.id and not e.asking and ',"ref":"' .. a.id .. '"' or "") .. "}}")
end

-- The entry of an earlier recall.
local made_before = function(e, a, gone)
  local seq = tonumber(gone)
  local entry, before = D.entry(e, a.conversation, seq), D.entry(e, a.conversation, seq - 1)
  return { seq = D.int(seq), id = entry.id, prev = before.id, time = entry.time }
end

local recall = function(c, e, a, conv, message)
  local entry = D.append(e, a.conversation, conv.seq, conv.last, conv.counts or "0 0", message.from, e.uid,
    "recalled", a.seq, nil, "recalls", tonumber(conv.recalls or 0) + 1)
  local key = D.gone_key(e, a.conversation)
  redis.call("HSET", key, a.seq, entry.seq)
  local ttl = redis.call("PTTL", D.log_key(e, a.conversation))
  if ttl >= 0 then redis.call("PEXPIRE", key, ttl) end
  return entry
end

T.recall = function(c, e, a)
  local n, conns, lang, role, bucket =
    D.get(D.quiet_user_key(e, e.uid), "n:" .. a.client, "conns", "lang", "role", "b")
  if not D.is_next(e, a, n) or D.too_fast(c, e, a, lang, bucket) then return end
  if not D.may_speak(e.role or role) then return D.refuse(e, a, lang, "wrong_role") end
  local conv = D.conv(e, a.conversation)
  if not (conv and D.reader(conv, e.uid)) then return D.refuse(e, a, lang, "no_conversation") end
  local message = D.entry(e, a.conversation, a.seq)
  if not (message and message.message) or (a.message and a.message ~= message.id) then
    return D.refuse(e, a, lang, "no_message")
  end
  if message.uid ~= e.uid then return D.refuse(e, a, lang, "forbidden") end
  local gone = conv.recalls and redis.call("HGET", D.gone_key(e, a.conversation), a.seq)
  if gone then
    D.take(e, a)
    return answer(e, a, frame_head(a, made_before(e, a, gone), message))
  end
  if tonumber(e.time) - tonumber(message.time) >= tonumber(c.settings.recall_ms) then
    return D.refuse(e, a, lang, "recall_expired")
  end
  D.take(e, a)
  local head = frame_head(a, recall(c, e, a, conv, message), message)
  for _, side in ipairs({ "a", "b" }) do
    -- Everybody there is the other side of somebody; earlier staff have left theirs to others.
    local uid = D.other(conv, side)
    if uid and uid ~= e.uid then
      D.push_conns(e, D.get(D.quiet_user_key(e, uid), "conns"), head .. "}}")
    end
  end
  D.push_conns(e, conns, head .. "}}", a.client)
  answer(e, a, head)
end
