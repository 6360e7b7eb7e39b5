-- hook_redeliver: parked deliveries of a webhook are tried again, one of them or all that there is room for.
--
-- fields  prefix site uid lang hook delivery
--   delivery is the id of one
-- writes  hook:<hook>:parked, hook:<hook>:queue, hooked
-- answers webhook_redelivered; error no_webhook, no_delivery

T.hook_redeliver = function(c, e, a)
  if not D.the_hook(e, a) then return end
  local key, moved = D.hook_key(e, a.hook), 0
  local room = D.hook_room(e.S, key)
  local wanted = a.delivery and '{"id":"' .. a.delivery .. '"'
  for _, entry in ipairs(redis.call("XRANGE", key .. ":parked", "-", "+")) do
    local delivery = D.fields(entry).d
    if moved < room and (not wanted or string.find(delivery, wanted, 1, true)) then
      redis.call("XADD", key .. ":queue", "*", "d", delivery)
      redis.call("XDEL", key .. ":parked", entry[1])
      moved = moved + 1
    end
  end
  if wanted and moved == 0 then return D.refuse(e, a, a.lang, "no_delivery") end
  D.hook_next(c.P, key, D.hook_name(e, a.hook))
  D.hint_hooks(c.shard)
  c.touched = c.touched + math.floor(moved / 10)
  D.answer(e, a, '{"action":"webhook_redelivered","payload":{"id":"' .. a.hook .. '","redelivered":' .. D.int(moved) .. "}}")
end
