-- hook_take: what to deliver to a hook now.
--
-- KEYS   1 S hooks
-- ARGV   prefix of the shard, of the site, site, hook, most deliveries, how long a claim is good in ms, most attempts of one,
--        how many claims who takes has already
-- Returns {}, if the hook is not there or off; else {how many deliveries were dropped since that was asked last, how many
-- wait in the queue still, delivery, …}; a delivery is {its member of `retry`, attempts with this one, id, conversation}; what it says:
-- hook_body

-- Takes what is due again, then what was not tried yet, at most so many. Returns a list of members of `retry`.
local claim = function(key, most, until_ms, now, attempts_max)
  local taken = {}
  local put = function(attempts, why, delivery)
    local member = D.int(attempts) .. "|" .. why .. "|" .. delivery
    redis.call("ZADD", key .. ":retry", until_ms, member)
    taken[#taken + 1] = member
  end
  local due = redis.call("ZRANGEBYSCORE", key .. ":retry", "-inf", D.int(now), "LIMIT", 0, most)
  for _, member in ipairs(due) do
    redis.call("ZREM", key .. ":retry", member)
    local attempts, why, delivery = D.hook_member(member)
    if attempts < attempts_max then
      put(attempts + 1, why, delivery)
    else -- whoever made the last attempt has died of it, or with it
      D.hook_park(key, attempts, why == "" and "unknown" or why, delivery)
    end
  end
  if #taken == most then return taken end
  for _, entry in ipairs(redis.call("XRANGE", key .. ":queue", "-", "+", "COUNT", most - #taken)) do
    redis.call("XDEL", key .. ":queue", entry[1])
    put(1, "", entry[2][2])
  end
  return taken
end

local take = function(keys, args)
  local P, S, hook, most = args[1], args[2], args[4], tonumber(args[5])
  local key, name = S .. "hook:" .. hook, args[3] .. "|" .. hook
  if not D.hook_is_on(redis.call("HGET", keys[1], hook)) then
    redis.call("ZREM", P .. "hooked", name)
    return {}
  end
  local now = D.now_ms()
  local taken = claim(key, most, D.int(now + tonumber(args[6])), now, tonumber(args[7]))
  D.hook_hold(key, #taken + tonumber(args[8]) > 0 and tonumber(args[6]) or 0)
  local dropped = redis.call("HGET", key .. ":counts", "unlogged")
  if dropped then redis.call("HDEL", key .. ":counts", "unlogged") end
  local answer = { tonumber(dropped or 0), redis.call("XLEN", key .. ":queue") }
  for _, member in ipairs(taken) do
    local attempts, _, delivery = D.hook_member(member)
    local id, conversation = string.match(delivery, '{"id":"([^"]*)".-"conversation":"([^"]*)"')
    answer[#answer + 1] = { member, attempts, id, conversation }
  end
  D.hook_next(P, key, name)
  return answer
end

-- allow-oom: what is delivered makes room in a memory that is full.
register { function_name = PREFIX .. "hook_take", callback = take, flags = { "allow-oom" } }
