-- lease: who reads which lanes of a shard. For liveness only: the log rule makes a late worker harmless.
--
-- KEYS   lease keys of one shard
-- ARGV   TTL in ms, the worker's token, then per key `1` (take or renew) or `0` (release)
-- Returns per key 1 where the lease is now held with this token, else 0.

local function lease(keys, args)
  local ttl, token, held = args[1], args[2], {}
  for i, key in ipairs(keys) do
    local owner = redis.call("GET", key)
    held[i] = 0
    if args[i + 2] == "1" then
      if not owner or owner == token then
        redis.call("SET", key, token, "PX", ttl)
        held[i] = 1
      end
    elseif owner == token then
      redis.call("DEL", key)
    end
  end
  return held
end

redis.register_function { function_name = PREFIX .. "lease", callback = lease, flags = { "allow-oom" } }
