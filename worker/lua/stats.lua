-- stats: what the metrics show of one shard. Reads only.
--
-- KEYS   1 the shard's `sites` set
-- ARGV   shard prefix
-- Returns {customers waiting, those whose place is kept included, staff on duty, staff with a free place, timers} over at most
-- L.sites sites.

local function stats(keys, args)
  local waiting, duty, free = 0, 0, 0
  for i, site in ipairs(redis.call("SMEMBERS", keys[1])) do
    if i > L.sites then break end
    local S = args[1] .. "site:" .. site .. ":"
    waiting = waiting + redis.call("ZCARD", S .. "waiting") + redis.call("ZCARD", S .. "away")
    duty = duty + redis.call("ZCARD", S .. "duty")
    free = free + redis.call("ZCARD", S .. "free")
  end
  return { waiting, duty, free, redis.call("ZCARD", args[1] .. "due") }
end

register { function_name = PREFIX .. "stats", callback = stats, flags = { "no-writes" } }
