-- hook_done: what became of attempts.
--
-- KEYS   1 S hooks
-- ARGV   prefix of the shard, of the site, site, hook, for how many ms from now on claims are held still (0: none), then for each
--        attempt: its member of `retry`, `hold` (it goes on, the claim too), `back` (it was not made), `delivered`, `retry` or `park`; ms from now
--        on that the claim or the pause lasts; why
-- Returns nothing.

-- What became of an attempt. Of what is not claimed any more nothing is noted: the hook was deleted, or the claim has
-- run out and somebody else has it.
local settle = function(key, now, member, what, ms, why)
  local retry = key .. ":retry"
  if what == "hold" then
    redis.call("ZADD", retry, "XX", D.int(now + tonumber(ms)), member)
    return
  end
  if redis.call("ZREM", retry, member) == 0 then return end
  local attempts, before, delivery = D.hook_member(member)
  if what == "back" then
    redis.call("ZADD", retry, D.int(now + tonumber(ms)), D.int(attempts - 1) .. "|" .. before .. "|" .. delivery)
    return
  end
  if what == "delivered" then
    redis.call("HINCRBY", key .. ":counts", "delivered", 1)
    redis.call("HSET", key .. ":counts", "delivered_at", D.int(now))
    return
  end
  redis.call("HINCRBY", key .. ":counts", "failed", 1)
  redis.call("HSET", key .. ":counts", "failed_at", D.int(now), "why", why)
  if what == "retry" then
    redis.call("ZADD", retry, D.int(now + tonumber(ms)), D.int(attempts) .. "|" .. why .. "|" .. delivery)
  else
    D.hook_park(key, attempts, why, delivery)
  end
end

local done = function(keys, args)
  local P, key, name = args[1], args[2] .. "hook:" .. args[4], args[3] .. "|" .. args[4]
  local now = D.now_ms()
  for i = 6, #args, 4 do
    settle(key, now, args[i], args[i + 1], args[i + 2], args[i + 3])
  end
  -- Of a hook that was deleted nothing is written again.
  if redis.call("HGET", keys[1], args[4]) then D.hook_hold(key, tonumber(args[5])) end
  D.hook_next(P, key, name)
end

register { function_name = PREFIX .. "hook_done", callback = done, flags = { "allow-oom" } }
