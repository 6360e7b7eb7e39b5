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

-- Whether a role that may speak may write directly to users, and be written to; customers by the setting.
D.may_write = function(c, role)
  return SERVES[role] or (role == "customer" and c.settings.customer_direct == "1")
end

-- Whether a token was made before, or in the same second as, its user was revoked. Open mode has none.
D.is_revoked = function(e, uid, iat)
  local revoked = iat and redis.call("GET", e.S .. "revoked:" .. uid)
  return revoked and tonumber(iat) <= tonumber(revoked)
end

-- Takes all connections of the event's user out and closes them with a code. The user leaves, with
-- nothing kept for a return: a customer their conversation or queue, a staff member their duty.
D.expel = function(c, e, code)
  local key = D.user_key(e, e.uid)
  local conns, lost, role = D.get(key, "conns", "lost", "role")
  if not conns then return end
  D.seen(c, e, e.uid, role)
  for client in string.gmatch(conns, "%S+") do
    conns = D.disconnect(c, e, client, conns)
    D.push_client(e, "C", client, code)
  end
  if lost then
    redis.call("HDEL", key, "lost")
    redis.call("ZREM", c.P .. "due", D.timer(e, "lost", e.uid, lost, c.lane))
  end
  D.depart(c, e)
end
