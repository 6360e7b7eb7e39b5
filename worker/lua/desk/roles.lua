-- Who may do what. `any` is open mode, where the first verb decides; a supervisor may do what staff
-- may; a service takes no part in conversations. A verb that a role may not use is refused with
-- wrong_role, here and not only at the gateway: what is in the log may come from any program.

local SERVES = { any = true, staff = true, supervisor = true }
local ASKS = { any = true, customer = true }

-- Whether a role may take customers.
D.may_serve = function(role) return SERVES[role] end

-- Whether a role may ask for staff.
D.may_ask = function(role) return ASKS[role] end

-- Whether a role may speak in conversations at all.
D.may_speak = function(role) return SERVES[role] or ASKS[role] end

-- Takes all connections of the event's user out and closes them with a code. The user leaves, with
-- nothing kept for a return: a customer their conversation or queue, a staff member their duty.
D.expel = function(c, e, code)
  local key = D.user_key(e, e.uid)
  local conns, duty, conv = D.get(key, "conns", "duty", "conv")
  if not conns then return end
  for client in string.gmatch(conns, "%S+") do
    redis.call("HDEL", key, "n:" .. client)
    redis.call("HDEL", c.P .. "boot:" .. D.boot_of(client), client)
    D.push_client(e, "C", client, code)
  end
  redis.call("HSET", key, "conns", "")
  if duty then
    D.off_duty(c, e, e.uid)
  elseif conv then
    D.finish(c, e, conv, "customer_left")
    D.fill(c, e)
  end
  D.forget_if_gone(e, e.uid)
end
