-- hook_create: a webhook of the site. Its secret is told with this answer (transitions/request.lua).
--
-- fields  prefix site uid lang url types wants secret
--   url and types are JSON; wants is the letters of the types, or - if it is off
-- writes  hooks (of the site and of the shard), hook_secrets, hooked
-- answers webhook; error too_many_webhooks

T.hook_create = function(c, e, a)
  if redis.call("HLEN", e.S .. "hooks") >= L.hooks then
    return D.refuse(e, a, a.lang, "too_many_webhooks")
  end
  local hook = D.make_id(e)
  redis.call("HSET", c.P .. "hook_secrets", D.hook_name(e, hook), a.secret)
  D.answer_hook(e, a, hook, D.keep_hook(c, e, a, hook, e.time))
end
