-- idle_timer: a conversation's timer is due. Messages only move the conversation's `idle`; the
-- timer looks at it when it fires and is set again if the customer wrote meanwhile. `idle` is thus
-- the timer's generation: an event of an older one finds a later time and ends nothing.
--
-- fields  prefix site uid conversation
-- writes  due; or what desk/finish.lua writes, and what filling writes
-- pushes  chat_close timeout to the customer, customer_timeout to staff; what filling pushes

T.idle_timer = function(c, e, a)
  local state, idle = D.get(D.conv_key(e, a.conversation), "state", "idle")
  -- Who waits has a time only if they have left messages.
  if not idle or (state ~= "open" and state ~= "waiting") then return end
  if tonumber(idle) > D.clock(c) then
    redis.call("ZADD", c.P .. "due", idle, D.timer(e, "idle", e.uid, a.conversation, c.lane))
    return
  end
  D.finish(c, e, a.conversation, state == "open" and "timeout" or "unanswered")
  D.fill(c, e)
end
