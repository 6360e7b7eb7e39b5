-- lease: who reads which lanes of a shard. For liveness only: the log rule makes a late worker harmless.
--
-- KEYS   lease keys of one shard
-- ARGV   TTL in ms, the worker's token, then per key `renew` (the worker thinks that it holds it),
--        `take` or `release`
-- Returns per key 1 where the lease is now held with this token, else 0.
--
-- Renewing takes one command. If the lease has become another's meanwhile it lengthens theirs, once:
-- the worker then knows, and says `take`.

local function lease(keys, args)
  local ttl, token, held = args[1], args[2], {}
  for i, key in ipairs(keys) do
    local what, owner = args[i + 2], nil
    if what == "renew" then
      owner = redis.call("GETEX", key, "PX", ttl)
    else
      owner = redis.call("GET", key)
    end
    held[i] = 0
    if what == "release" then
      if owner == token then redis.call("DEL", key) end
    elseif not owner or (owner == token and what == "take") then
      redis.call("SET", key, token, "PX", ttl)
      held[i] = 1
    elseif owner == token then
      held[i] = 1
    end
  end
  return held
end

register { function_name = PREFIX .. "lease", callback = lease, flags = { "allow-oom" } }
