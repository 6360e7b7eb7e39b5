-- staff_offline: stop taking customers. Conversations end or are requeued (`on_staff_leave`).
-- Somebody who is not on duty gets the same answer.
--
-- fields  prefix site uid client n
-- writes  u:<uid>, duty, free, turn, and what desk/leave.lua writes
-- pushes  off_duty; chat_close or queued, queue_close to customers; error wrong_role

T.staff_offline = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns, lang, role, duty, conv =
    D.get(key, "n:" .. a.client, "conns", "lang", "role", "duty", "conv")
  if not D.is_next(e, a, n) then return end
  if not duty and (conv or not D.may_serve(role)) then return D.refuse(e, a, lang, "wrong_role") end
  D.take(e, a)
  D.push_conns(e, conns, D.head(lang, "off_duty") .. "}}")
  if duty then D.off_duty(c, e, e.uid) end
end
