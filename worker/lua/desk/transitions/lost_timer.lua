-- lost_timer: the time to come back is over, and a lost user leaves. The time itself is the timer's
-- generation: an event of an earlier loss finds another one, or none, and does nothing.
--
-- fields  prefix site uid lost
-- writes  u:<uid> {lost}, and what leaving writes
-- pushes  chat_close, queue_close to the other side; see desk/finish.lua

T.lost_timer = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local lost = D.get(key, "lost")
  if not lost or lost ~= a.lost then return end
  redis.call("HDEL", key, "lost")
  D.depart(c, e)
end
