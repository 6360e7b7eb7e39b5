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

register { function_name = PREFIX .. "hooks_due", callback = hooks_due, flags = { "no-writes" } }
