-- hook_redeliver: deliveries of a webhook are tried now, one of them or all: parked ones, as many as there is room for,
-- and those that wait for another attempt. What somebody may have taken is left to them (D.hook_unclaimed).
--
-- fields  prefix site uid lang hook delivery
--   delivery is the id of one
-- writes  hook:<hook>:parked, hook:<hook>:queue, hook:<hook>:retry, hooked
-- answers webhook_redelivered; error no_webhook, no_delivery, webhook_full

T.hook_redeliver = function(c, e, a)
  if not D.the_hook(e, a) then return end
  local key, found, moved, hastened = D.hook_key(e, a.hook), false, 0, 0
  local room = D.hook_room(e.S, key)
  local parked = redis.call("XRANGE", key .. ":parked", "-", "+")
  local now, due, later = D.hook_unclaimed(key, a.delivery and L.hook_queue or L.hook_parked)
  D.hook_looked(c, parked, due, later)
  for _, entry in ipairs(parked) do
    local delivery = D.fields(entry).d
    if D.is_delivery(delivery, a.delivery) then
      found = true
      if moved == room then break end
      redis.call("XADD", key .. ":queue", "*", "d", delivery)
      redis.call("XDEL", key .. ":parked", entry[1])
      moved = moved + 1
    end
  end
  for _, member in ipairs(later) do
    if D.is_delivery(member, a.delivery) then
      redis.call("ZADD", key .. ":retry", D.int(now), member)
      hastened = hastened + 1
    end
  end
  if moved + hastened == 0 and (found or a.delivery) then
    return D.refuse(e, a, a.lang, found and "webhook_full" or "no_delivery")
  end
  D.hook_next(c.P, key, D.hook_name(e, a.hook))
  D.hint_hooks(c.shard)
  c.touched = c.touched + math.floor((moved + hastened) / 10)
  D.answer(e, a, '{"action":"webhook_redelivered","payload":{"id":"' .. a.hook .. '","redelivered":' .. D.int(moved)
    .. ',"hastened":' .. D.int(hastened) .. "}}")
end
