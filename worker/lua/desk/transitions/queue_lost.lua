-- queue_lost: the continuation of a queue that lost its staff; see D.queue_lost in desk/finish.lua.
--
-- fields  prefix site uid queue upto
-- writes  what desk/finish.lua writes
-- pushes  queue_close or queued to customers; what filling pushes

T.queue_lost = function(c, e, a)
  D.queue_lost(c, e, a.queue, a.upto)
  D.fill(c, e)
end
