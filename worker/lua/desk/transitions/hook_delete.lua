-- hook_delete: a webhook is not there any more, nor what waited for it. What is being delivered may still arrive.
--
-- fields  prefix site uid lang hook
-- writes  hooks (of the site and of the shard), hook_secrets, hooked, hook:<hook>:*
-- answers webhook_deleted; error no_webhook

T.hook_delete = function(c, e, a)
  if not D.the_hook(e, a) then return end
  local key, name = D.hook_key(e, a.hook), D.hook_name(e, a.hook)
  redis.call("HDEL", e.S .. "hooks", a.hook)
  redis.call("HDEL", c.P .. "hook_secrets", name)
  redis.call("ZREM", c.P .. "hooked", name)
  redis.call("DEL", key .. ":queue", key .. ":retry", key .. ":parked", key .. ":counts")
  D.hook_wants(c, e, a.hook, nil)
  -- What this call has put out for it is for nobody.
  local box = c.outbox and c.outbox[name]
  while box and #box > 0 do table.remove(box) end
  D.answer(e, a, '{"action":"webhook_deleted","payload":{"id":"' .. a.hook .. '"}}')
end
