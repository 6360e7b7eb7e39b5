-- queue_lost: the continuation of a queue that lost its staff, see D.queue_lost in desk/leave.lua; or, of nobody's
-- queue, of filling, see desk/fill.lua.
--
-- fields  prefix site uid queue upto
-- writes  what desk/leave.lua writes, and what filling writes
-- pushes  queue_close or queued to customers; what filling pushes

T.queue_lost = function(c, e, a)
  D.queue_lost(c, e, a.queue, a.upto)
  D.fill(c, e)
end
