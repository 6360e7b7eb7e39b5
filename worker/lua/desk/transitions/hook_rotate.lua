-- hook_rotate: another secret for a webhook. For L.old_secret_ms deliveries are signed with the one before, too.
-- The new one is told with this answer (transitions/request.lua).
--
-- fields  prefix site uid lang hook secret
-- writes  hook_secrets
-- answers webhook; error no_webhook

T.hook_rotate = function(c, e, a)
  local config = D.the_hook(e, a)
  if not config then return end
  local key, name = c.P .. "hook_secrets", D.hook_name(e, a.hook)
  local before = string.match(redis.call("HGET", key, name) or "", "^%S+")
  local ends = D.int(tonumber(e.time) + L.old_secret_ms)
  redis.call("HSET", key, name, a.secret .. (before and " " .. before .. " " .. ends or ""))
  D.answer_hook(e, a, a.hook, config)
end
