-- bury: appends `gateway_dead` to a shard's lane 0, unless the shard has applied it already.
-- May append it twice while the lane is behind; the transition is idempotent.
--
-- KEYS   1 the shard's `fenced` zset   2 the stream of its lane 0   3 the shard's `pushes` hash
-- ARGV   site and uid to name in the event, boot id
-- Returns 1 if it was appended, 0 if the shard knows. Forgets boots that are fenced for two days.

local function bury(keys, args)
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  for _, boot in ipairs(redis.call("ZRANGEBYSCORE", keys[1], "-inf", now - 2 * L.fenced_ms, "LIMIT", 0, L.timers)) do
    redis.call("ZREM", keys[1], boot)
    redis.call("HDEL", keys[3], boot)
  end
  if redis.call("ZSCORE", keys[1], args[3]) then return 0 end
  redis.call("XADD", keys[2], "*", "v", 1, "site", args[1], "uid", args[2],
    "kind", "gateway_dead", "boot", args[3])
  return 1
end

register { function_name = PREFIX .. "bury", callback = bury, flags = { "allow-oom" } }
