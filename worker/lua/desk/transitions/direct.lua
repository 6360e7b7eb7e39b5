-- direct: words to a user of the site by uid. Begins their direct conversation, or continues it.
--
-- fields  prefix site uid client n body id digest to first second
--   body is a JSON string; id the sender's, with a digest of `to` and the body; first and second are uid
--   and to in the order of their bytes
-- writes  u:<uid> {n:<client>, b}, log:<conv>, conv:<conv> {state, a, b, seq, last, counts, renewed},
--         dm:<a>|<b>, convs:<uid> and who:<uid> of both, sent:<uid>:0 and :1
-- answers ACK for a message with an id, the same again for the same id
-- pushes  message to the other side and to the sender's other connections;
--         error wrong_role, id_reused, bad_field (to oneself), forbidden, no_user,
--         too_many_conversations, rate_limited

T.direct = function(c, e, a)
  local me = {}
  local n, lang, bucket
  n, lang, bucket, me.conns, me.role =
    D.get(D.quiet_user_key(e, e.uid), "n:" .. a.client, "lang", "b", "conns", "role")
  if not D.is_next(e, a, n) then return end
  me.role = e.role or me.role
  if not D.may_speak(me.role) then return D.refuse(e, a, lang, "wrong_role") end
  local known, note = D.sent_before(e, a, lang)
  if known then return note end
  if D.too_fast(c, e, a, lang, bucket) then return end
  me.note = note
  if a.to == e.uid then return D.refuse(e, a, lang, "bad_field", "to") end
  local other, why = D.addressee(c, e, me.role, a.to)
  if not other then return D.refuse(e, a, lang, why) end
  local id = redis.call("GET", D.dm_key(e, a.first, a.second))
  local conv = id and D.conv(e, id)
  if not conv then
    if not (D.has_room(e, a.first) and D.has_room(e, a.second)) then
      return D.refuse(e, a, lang, "too_many_conversations")
    end
    id, conv = D.begin_directly(e, a.first, a.second)
  end
  return D.say_directly(c, e, a, me, other, id, conv)
end
