-- customer_leave: end the conversation or leave the queue.
--
-- fields  prefix site uid client n
-- writes  u:<uid> {n:<client>}, what desk/finish.lua writes, and what filling writes
-- pushes  chat_close customer_left to both sides; what filling pushes; error wrong_role, no_conversation

T.customer_leave = function(c, e, a)
  local n, lang, role, duty, conv =
    D.get(D.user_key(e, e.uid), "n:" .. a.client, "lang", "role", "duty", "conv")
  if not D.is_next(e, a, n) then return end
  if not conv and (duty or not D.may_ask(role)) then return D.refuse(e, a, lang, "wrong_role") end
  if not conv then return D.refuse(e, a, lang, "no_conversation") end
  D.take(e, a)
  D.finish(c, e, conv, "customer_left")
  D.fill(c, e)
end
