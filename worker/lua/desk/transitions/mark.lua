-- mark: how far somebody's devices have got in a conversation, or they themselves. Marks only move
-- forward and not beyond the newest entry; who has read has been delivered. Also after the end.
--
-- fields  prefix site uid client n conversation up_to mark
--   mark is delivered or read
-- writes  u:<uid> {n:<client>}, conv:<conv> {da, ra} or {db, rb}: one write, however many messages
-- pushes  receipt to the other side, and with `unread` to the user's other connections, if something
--         has changed; in any case to who asks by a request; error wrong_role, no_conversation, forbidden

-- How many messages each side has written up to a place.
local counts_at = function(e, a, conv, seq)
  if seq == tonumber(conv.seq) then return conv.counts end
  return D.entry(e, a.conversation, seq).counts
end

local head_of = function(e, a, conv, side)
  return '{"action":"receipt","payload":{"conversation":"' .. a.conversation
    .. '","uid":"' .. e.uid .. '","delivered":' .. (conv["d" .. side] or 0)
    .. ',"read":' .. D.int(D.mark(conv["r" .. side]))
end

local own_frame = function(conv, side, head)
  return head .. ',"unread":' .. D.int(D.unread(conv, side)) .. "}}"
end

local push = function(e, a, conns, conv, side)
  local head, other = head_of(e, a, conv, side), D.other(conv, side)
  if other then D.push_conns(e, D.get(D.quiet_user_key(e, other), "conns"), head .. "}}") end
  D.push_conns(e, conns, own_frame(conv, side, head), a.client)
end

T.mark = function(c, e, a)
  local n, conns, lang, role = D.get(D.quiet_user_key(e, e.uid), "n:" .. a.client, "conns", "lang", "role")
  if not D.is_next(e, a, n) then return end
  if not D.may_speak(e.role or role) then return D.refuse(e, a, lang, "wrong_role") end
  local conv, side = D.mine(e, e.uid, a.conversation)
  if not conv then return D.refuse(e, a, lang, side) end
  D.take(e, a)
  local up_to = math.min(tonumber(a.up_to), tonumber(conv.seq or 0))
  local delivered, read, changes = "d" .. side, "r" .. side, {}
  if up_to > tonumber(conv[delivered] or 0) then
    conv[delivered] = D.int(up_to)
    changes = { delivered, conv[delivered] }
  end
  if a.mark == "read" and up_to > D.mark(conv[read]) then
    local by_a, by_b = D.counts(counts_at(e, a, conv, up_to))
    conv[read] = D.int(up_to) .. " " .. D.int(side == "a" and by_b or by_a)
    changes[#changes + 1], changes[#changes + 2] = read, conv[read]
  end
  if #changes > 0 then
    redis.call("HSET", D.quiet_conv_key(e, a.conversation), unpack(changes))
    push(e, a, conns, conv, side)
  end
  if e.asking then D.answer(e, a, own_frame(conv, side, head_of(e, a, conv, side))) end
end
