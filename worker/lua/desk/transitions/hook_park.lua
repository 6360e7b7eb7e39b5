-- hook_park: deliveries of a webhook are not tried any more, one of them or as many as may be parked. What somebody may
-- have taken is left to them (D.hook_unclaimed).
--
-- fields  prefix site uid lang hook delivery
--   delivery is the id of one
-- writes  hook:<hook>:parked, hook:<hook>:queue, hook:<hook>:retry, hook:<hook>:counts, hooked
-- answers webhook_parked; error no_webhook, no_delivery, webhook_full
--
-- The oldest first: what has been tried, then what was not yet. Nothing that is parked gives way.

T.hook_park = function(c, e, a)
  if not D.the_hook(e, a) then return end
  local key, parked = D.hook_key(e, a.hook), 0
  local room = L.hook_parked - redis.call("XLEN", key .. ":parked")
  local most = a.delivery and L.hook_queue or math.max(room, 1)
  local waits = {} -- {delivery, attempts, why, how it is taken out, key, place}
  local _, due, later = D.hook_unclaimed(key, most)
  local queue = redis.call("XRANGE", key .. ":queue", "-", "+", "COUNT", most)
  D.hook_looked(c, due, later, queue)
  for _, members in ipairs({ due, later }) do
    for _, member in ipairs(members) do
      if D.is_delivery(member, a.delivery) then
        local attempts, why, delivery = D.hook_member(member)
        waits[#waits + 1] = { delivery, attempts, why, "ZREM", key .. ":retry", member }
      end
    end
  end
  for _, entry in ipairs(queue) do
    if D.is_delivery(entry[2][2], a.delivery) then
      waits[#waits + 1] = { entry[2][2], 0, "", "XDEL", key .. ":queue", entry[1] }
    end
  end
  for _, it in ipairs(waits) do
    if parked == room then break end
    redis.call(it[4], it[5], it[6])
    D.hook_park(key, it[2], it[3] == "" and "by hand" or it[3], it[1])
    parked = parked + 1
  end
  if parked == 0 and (#waits > 0 or a.delivery) then
    return D.refuse(e, a, a.lang, #waits > 0 and "webhook_full" or "no_delivery")
  end
  D.hook_next(c.P, key, D.hook_name(e, a.hook))
  c.touched = c.touched + math.floor(parked / 10)
  D.answer(e, a, '{"action":"webhook_parked","payload":{"id":"' .. a.hook .. '","parked":' .. D.int(parked) .. "}}")
end
