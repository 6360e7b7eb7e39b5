-- customer_connect: ask for staff; again: the same answer again. While nobody is on duty it begins what
-- desk/left.lua says, by the setting.
--
-- fields  prefix site uid client n
-- writes  u:<uid> {n:<client>}, and with a conversation turn; who waits: u:<uid> {conv, queue, place}, conv:<id>,
--         convs:<uid>, waiting, q:<queue>, duty, moved; who leaves messages also u:<uid> {left},
--         conv:<id> {idle}, due, sites (desk/left.lua); else what assigning writes
-- pushes  connected, queued, queue_full or no_staff (with the conversation, if messages may be left) to
--         the customer; new_customer to staff;
--         error wrong_role, too_many_conversations

local answer_again = function(e, a, lang, conv, queue)
  local rest = ',"conversation":"' .. conv .. '"'
  if queue and D.left_queue(true) == queue and redis.call("ZCARD", e.S .. "duty") == 0 then
    return D.head(lang, "no_staff") .. rest .. "}}"
  end
  if queue then
    local place = redis.call("ZRANK", D.queue_key(e, queue), e.uid) + 1
    return D.head(lang, "queued") .. rest .. ',"queue":' .. D.int(place) .. "}}"
  end
  local staff = D.get(D.conv_key(e, conv), "staff")
  local name = D.get(D.user_key(e, staff), "name")
  return D.head(lang, "connected") .. rest .. ',"name":' .. name .. "}}"
end

T.customer_connect = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns, lang, role, duty, conv, queue =
    D.get(key, "n:" .. a.client, "conns", "lang", "role", "duty", "conv", "queue")
  if not D.is_next(e, a, n) then return end
  if duty or not D.may_ask(role) then return D.refuse(e, a, lang, "wrong_role") end
  if conv then
    local frame = answer_again(e, a, lang, conv, queue)
    D.take(e, a)
    D.push_client(e, "F", a.client, frame)
    return
  end
  local on_duty = redis.call("ZCARD", e.S .. "duty")
  local before = redis.call("ZCARD", e.S .. "waiting")
  local waits = before + redis.call("ZCARD", e.S .. "away")
  -- While filling goes on in another call a place may be free that is somebody else's.
  local staff = before == 0 and redis.call("ZRANGE", e.S .. "free", 0, 0)[1]
  local leaves = on_duty == 0 and c.settings.leave_message == "1"
  local begins = (on_duty > 0 or leaves) and (staff or waits < tonumber(c.settings.queue_limit))
  if begins and not D.has_room(e, e.uid) then return D.refuse(e, a, lang, "too_many_conversations") end
  D.take(e, a)
  if on_duty == 0 and not leaves then
    D.push_client(e, "F", a.client, D.head(lang, "no_staff") .. "}}")
  elseif not begins then
    D.push_client(e, "F", a.client, D.head(lang, "queue_full") .. "}}")
  else
    local id, ticket = D.make_id(e), D.turn(e)
    if leaves then
      D.leave_message(c, e, id, ticket)
      D.push_conns(e, conns, D.head(lang, "no_staff") .. ',"conversation":"' .. id .. '"}}')
    elseif staff then
      redis.call("HSET", D.conv_key(e, id), "ticket", ticket)
      D.assign(c, e, e.uid, staff, id)
    else
      local place = D.enqueue(c, e, e.uid, id, ticket)
      D.list(c, e, e.uid, id)
      D.tell_queued(e, id, "new")
      D.push_conns(e, conns, D.head(lang, "queued") .. ',"conversation":"' .. id
        .. '","queue":' .. D.int(place) .. "}}")
    end
  end
end
