-- hooks_due: for which hooks of a shard there is something to do. Reads only.
--
-- KEYS   1 the shard's `hooked`   2 its `hooks`
-- Returns {1 if the shard has hooks, ms until there is more to do or -1, "<site>|<hook>", …}
local hooks_due = function(keys)
  local now = D.int(D.now_ms())
  local answer = { redis.call("EXISTS", keys[2]), -1 }
  for _, name in ipairs(redis.call("ZRANGEBYSCORE", keys[1], "-inf", now, "LIMIT", 0, L.hooks_due)) do
    answer[#answer + 1] = name
  end
  local later = redis.call("ZRANGEBYSCORE", keys[1], "(" .. now, "+inf", "WITHSCORES", "LIMIT", 0, 1)
  if later[2] then answer[2] = tonumber(later[2]) - tonumber(now) end
  return answer
end

-- hooks_stats: what the metrics show of a shard's hooks. Reads only.
--
-- KEYS   1 the shard's `hooks`
-- ARGV   prefix of the shard
-- Returns {deliveries that wait for a first attempt, for another one, parked, dropped so far}
local hooks_stats = function(keys, args)
  local sum = { 0, 0, 0, 0 }
  local sites = redis.call("HGETALL", keys[1])
  for i = 1, math.min(#sites, 2 * L.sites), 2 do
    for hook in string.gmatch(sites[i + 1], "([^ ;]+) [%l-]+;") do
      local key = args[1] .. "site:" .. sites[i] .. ":hook:" .. hook
      sum[1] = sum[1] + redis.call("XLEN", key .. ":queue")
      sum[2] = sum[2] + redis.call("ZCARD", key .. ":retry")
      sum[3] = sum[3] + redis.call("XLEN", key .. ":parked")
      sum[4] = sum[4] + tonumber(redis.call("HGET", key .. ":counts", "dropped") or 0)
    end
  end
  return sum
end

redis.register_function { function_name = PREFIX .. "hooks_due", callback = hooks_due, flags = { "no-writes" } }
redis.register_function { function_name = PREFIX .. "hooks_stats", callback = hooks_stats, flags = { "no-writes" } }
