-- Direct conversations: of two users of a site, who write to each other by uid.
--
-- conv:<id> has state `direct` and the members a and b, in the order of their bytes; dm:<a>|<b> names the
-- conversation. It has no end: it expires with all that belongs to it when nobody has written for the
-- retention. A message renews that at most hourly; the field `renewed`, which is read and written anyway,
-- says when it was.

-- The other side of somebody with this role: {uid, role, conns}; or nil and the error code. Who is
-- connected has a role in u:<uid>, who was once has it in who:<uid>.
D.addressee = function(c, e, role, uid)
  local conns, theirs = D.get(D.quiet_user_key(e, uid), "conns", "role")
  theirs = theirs or redis.call("GET", D.who_key(e, uid))
  if not D.may_write(c, role) then return nil, "forbidden" end
  if not theirs then return nil, "no_user" end
  if not D.may_write(c, theirs) then return nil, "forbidden" end
  return { uid = uid, role = theirs, conns = conns }
end

-- Sets the expiry of all that a direct conversation needs, and notes it in both lists.
local renew = function(c, e, id, conv, me, other)
  local ms = D.keep_ms(c)
  redis.call("PEXPIRE", D.conv_key(e, id), ms)
  redis.call("PEXPIRE", D.log_key(e, id), ms)
  redis.call("PEXPIRE", D.dm_key(e, conv.a, conv.b), ms)
  if conv.recalls then redis.call("PEXPIRE", D.gone_key(e, id), ms) end
  D.list(c, e, e.uid, id)
  D.list(c, e, other.uid, id)
  D.seen(c, e, e.uid, me.role)
  D.seen(c, e, other.uid, other.role)
end

-- Begins the conversation of two users; the first words do the rest. Returns its id and fields.
D.begin_directly = function(e, first, second)
  local id = D.make_id(e)
  redis.call("HSET", D.conv_key(e, id), "state", "direct", "a", first, "b", second)
  redis.call("SET", D.dm_key(e, first, second), id)
  return id, { state = "direct", a = first, b = second }
end

-- Stores the frame's words in a direct conversation and tells everybody. `me` is {conns, lang, role, note}
-- of the sender, note being that of D.sent_before. Returns what the transition returns.
D.say_directly = function(c, e, a, me, other, id, conv)
  D.take(e, a)
  local counts = D.counted(conv.counts, D.member(conv, e.uid))
  local entry
  if tonumber(e.time) - tonumber(conv.renewed or 0) >= D.renew_ms(c) then
    entry = D.append(e, id, conv.seq, conv.last, counts, "user", e.uid, "message", a.body, a.id,
      "renewed", e.time)
    renew(c, e, id, conv, me, other)
  else
    entry = D.append(e, id, conv.seq, conv.last, counts, "user", e.uid, "message", a.body, a.id)
  end
  local frame = D.message_frame(id, "user", a.body, entry, e.uid)
  D.push_conns(e, other.conns, frame)
  D.push_conns(e, me.conns, frame, a.client)
  return D.acked(e, a, id, entry, me.note)
end

-- The frame names a conversation that is none of the sender's as customer or staff: it may be a direct one.
D.reply_directly = function(c, e, a, me)
  local conv = D.conv(e, a.conversation)
  local side = conv and conv.state == "direct" and D.member(conv, e.uid)
  if not side then return D.refuse(e, a, me.lang, "no_conversation") end
  local other, why = D.addressee(c, e, me.role, D.other(conv, side))
  if not other then return D.refuse(e, a, me.lang, why) end
  return D.say_directly(c, e, a, me, other, a.conversation, conv)
end
