-- hook_change: another URL or other types for a webhook, or it is turned on or off. What waits goes to the new URL.
--
-- fields  prefix site uid lang hook url types wants
-- writes  hooks (of the site and of the shard), hooked
-- answers webhook; error no_webhook

T.hook_change = function(c, e, a)
  local config = D.the_hook(e, a)
  if not config then return end
  local created = string.match(config, '^{"created":(%d+)')
  D.answer_hook(e, a, a.hook, D.keep_hook(c, e, a, a.hook, created))
end
