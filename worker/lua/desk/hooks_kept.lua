-- Webhooks as they are kept: what the acts on them share.
--
-- S hooks             hook -> {"created":…,"changed":…,"enabled":…,"types":[…],"url":…}, which gateways read
-- {sNN}:hook_secrets  "<site>|<hook>" -> secret, which gateways cannot. A gateway makes it, though, and sends it by
--                     the lane, whose entries gateways and `viewer` may read until they are trimmed; nothing else keeps it.
-- {sNN}:hooks         site -> what each hook wants (lua/outbox.lua)

D.hook_key = function(e, hook) return e.S .. "hook:" .. hook end
D.hook_name = function(e, hook) return e.site .. "|" .. hook end

-- A hook's JSON, or nil after the request was refused.
D.the_hook = function(e, a)
  local config = redis.call("HGET", e.S .. "hooks", a.hook)
  if config then return config end
  D.refuse(e, a, a.lang, "no_webhook")
end

-- Counts how many deliveries an act has read into the call, whatever comes of it: a call reads one full webhook at most.
D.hook_looked = function(c, ...)
  local count = 0
  for _, list in ipairs({ ... }) do count = count + #list end
  c.touched = c.touched + math.floor(count * L.touched / L.hook_queue)
end

-- Puts down what a hook wants, `-` for nothing; nil: it is not there any more.
D.hook_wants = function(c, e, hook, wants)
  local key, kept = c.P .. "hooks", {}
  for id, letters in string.gmatch(redis.call("HGET", key, e.site) or "", "([^ ;]+) ([%l-]+);") do
    if id ~= hook then kept[#kept + 1] = id .. " " .. letters .. ";" end
  end
  if wants then kept[#kept + 1] = hook .. " " .. wants .. ";" end
  if #kept > 0 then
    redis.call("HSET", key, e.site, table.concat(kept))
  else
    redis.call("HDEL", key, e.site)
  end
  c.hooks = nil -- read again by what comes after in this call
end

-- Keeps what was said of a hook, and has what waits for it delivered if it is on. Returns its JSON.
D.keep_hook = function(c, e, a, hook, created)
  local on = a.wants ~= "-"
  local config = '{"created":' .. created .. ',"changed":' .. e.time .. ',"enabled":' .. tostring(on)
    .. ',"types":' .. a.types .. ',"url":' .. a.url .. "}"
  redis.call("HSET", e.S .. "hooks", hook, config)
  D.hook_wants(c, e, hook, a.wants)
  if on then
    D.hook_next(c.P, D.hook_key(e, hook), D.hook_name(e, hook))
    D.hint_hooks(c.shard)
  end
  return config
end

-- Answers with a hook.
D.answer_hook = function(e, a, hook, config)
  D.answer(e, a, '{"action":"webhook","payload":{"id":"' .. hook .. '",' .. string.sub(config, 2, -2) .. "}}")
end

-- The answer with the hook's secret as it is now. Answers are kept without it, where gateways may read them.
D.with_secret = function(c, e, answer)
  local hook = string.match(answer, '^{"action":"webhook","payload":{"id":"([^"]+)"')
  local secret = hook and redis.call("HGET", c.P .. "hook_secrets", D.hook_name(e, hook))
  if not secret then return answer end
  return string.sub(answer, 1, -3) .. ',"secret":"' .. string.match(secret, "^%S+") .. '"}}'
end
