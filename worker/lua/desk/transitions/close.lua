-- close: a socket is gone. Idempotent. With the user's last connection they leave, a customer their
-- conversation or queue, a staff member their duty; unless it resumes and was lost rather than closed:
-- then their place is kept for a while. Whoever has left messages waits on without a connection.
--
-- fields  prefix site uid client clean
-- writes  u:<uid>, boot:<boot>, with the last connection who:<uid>, and what leaving writes; or
--         u:<uid> {lost}, due, free, waiting, away
-- pushes  chat_close, queue_close to the other side; see desk/finish.lua

T.close = function(c, e, a)
  local conns, role, duty, conv, left, resumes =
    D.get(D.user_key(e, e.uid), "conns", "role", "duty", "conv", "left", "r:" .. a.client)
  if not D.has(conns, a.client) then return end
  if D.disconnect(c, e, a.client, conns) ~= "" then return end
  D.seen(c, e, e.uid, role)
  if left then return end
  if a.clean == "0" and resumes and (duty or conv) and tonumber(c.settings.grace_ms) > 0 then
    D.lose(c, e)
  else
    D.depart(c, e)
  end
end
