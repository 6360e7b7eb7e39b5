-- close_conversation: either side ends one conversation.
--
-- fields  prefix site uid client n conversation
-- writes  u:<uid> {n:<client>}, what desk/finish.lua writes, and what filling writes
-- pushes  chat_close closed or customer_left to both sides; what filling pushes;
--         error wrong_role, no_conversation, which_conversation; `ended` to who asks by a request

T.close_conversation = function(c, e, a)
  local n, lang, role, duty, convs, conv =
    D.get(D.user_key(e, e.uid), "n:" .. a.client, "lang", "role", "duty", "convs", "conv")
  if not D.is_next(e, a, n) then return end
  if not D.may_speak(e.role or role) then return D.refuse(e, a, lang, "wrong_role") end
  local which, why
  if duty then
    which, why = D.meant(e, a, convs)
  elseif conv and (not a.conversation or a.conversation == conv) then
    which = conv
  end
  if not which then return D.refuse(e, a, lang, why or "no_conversation") end
  D.take(e, a)
  local reason = duty and "closed" or "customer_left"
  D.finish(c, e, which, reason)
  D.fill(c, e)
  D.answer(e, a, '{"action":"ended","payload":{"conversation":"' .. which .. '","reason":"' .. reason .. '"}}')
end
