-- close: a socket is gone. Idempotent. With the user's last connection they leave: a customer
-- their conversation or queue, a staff member their duty.
--
-- fields  prefix site uid client clean
-- writes  u:<uid>, boot:<boot>, with the last connection who:<uid>, and what leaving writes
-- pushes  chat_close, queue_close to the other side; see desk/finish.lua

T.close = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local conns, role, duty, conv = D.get(key, "conns", "role", "duty", "conv")
  if not D.has(conns, a.client) then return end
  conns = D.without(conns, a.client)
  redis.call("HSET", key, "conns", conns)
  redis.call("HDEL", key, "n:" .. a.client)
  redis.call("HDEL", c.P .. "boot:" .. D.boot_of(a.client), a.client)
  if conns ~= "" then return end
  D.seen(c, e, e.uid, role)
  if duty then
    D.off_duty(c, e, e.uid)
  elseif conv then
    D.finish(c, e, conv, "customer_left")
    D.fill(c, e)
  end
  D.forget_if_gone(e, e.uid)
end
