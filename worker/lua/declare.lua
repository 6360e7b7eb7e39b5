-- declare: decides the death of a gateway, once: only if its counter is still the one that was
-- seen standing still. Forgets the dead after a day; by then they are fenced by being unknown.
--
-- KEYS   1 hash of registrations
-- ARGV   boot id, counter that stood still (empty: only forget the long dead)
-- Returns 1 if this call declared it dead, else 0.

local function declare(keys, args)
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local value = redis.call("HGET", keys[1], args[1])
  if value and value == args[2] then
    redis.call("HSET", keys[1], args[1], "dead " .. D.int(now))
    return 1
  end
  local since = value and string.match(value, "^dead (%d+)$")
  if since and now - tonumber(since) > L.fenced_ms then
    redis.call("HDEL", keys[1], args[1])
  end
  return 0
end

register { function_name = PREFIX .. "declare", callback = declare, flags = { "allow-oom" } }
