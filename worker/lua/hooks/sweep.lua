-- hooks_sweep: what the metrics show of a shard's hooks, a page of its sites at a time; and if it is time for that, what
-- was kept for long is forgotten: parked deliveries, and what waits for a hook that is off. What waits for a hook that is
-- on is tried sooner or later.
--
-- KEYS   1 the shard's `hooks`
-- ARGV   prefix of the shard, where to go on (0: from the beginning), for how long deliveries are kept in ms, or 0: nothing is
--        forgotten now
-- Returns {where to go on, 0 if that was all, 1 if there was more to forget than one call does;
--          deliveries that wait for a first attempt, for another one, parked, dropped so far, forgotten so far;
--          parked ones, and waiting ones, that were forgotten now}

-- Takes the oldest entries of a stream away, those up to a time and at most so many. Returns how many.
local cut = function(key, last, most)
  if most == 0 then return 0 end -- XRANGE answers nil to COUNT 0
  local old = #redis.call("XRANGE", key, "-", last, "COUNT", most)
  if old > 0 then redis.call("XTRIM", key, "MAXLEN", redis.call("XLEN", key) - old) end
  return old
end

-- Forgets what a hook has kept until `last`, at most so many. Returns how many were parked, and waited.
local forget = function(key, off, last, most)
  local parked, waited = cut(key .. ":parked", last, most), 0
  if off then
    waited = cut(key .. ":queue", last, most - parked)
    local due = redis.call("ZRANGEBYSCORE", key .. ":retry", "-inf", last, "LIMIT", 0, most - parked - waited)
    for _, member in ipairs(due) do redis.call("ZREM", key .. ":retry", member) end
    waited = waited + #due
  end
  if parked + waited > 0 then redis.call("HINCRBY", key .. ":counts", "forgotten", parked + waited) end
  return parked, waited
end

local sweep = function(keys, args)
  local keep, left = tonumber(args[3]), L.hooks_forgotten
  local last = D.int(D.now_ms() - keep)
  local page = redis.call("HSCAN", keys[1], args[2], "COUNT", L.sites)
  local sum, all = { 0, 0, 0, 0, 0, 0, 0 }, page[2]
  local add = function(at, number) sum[at] = sum[at] + tonumber(number or 0) end
  for i = 1, #all, 2 do
    for hook, wants in string.gmatch(all[i + 1], "([^ ;]+) ([%l-]+);") do
      local key = args[1] .. "site:" .. all[i] .. ":hook:" .. hook
      if keep > 0 and left > 0 then
        local parked, waited = forget(key, wants == "-", last, left)
        left = left - parked - waited
        add(6, parked)
        add(7, waited)
      end
      local dropped, forgotten = D.get(key .. ":counts", "dropped", "forgotten")
      add(1, redis.call("XLEN", key .. ":queue"))
      add(2, redis.call("ZCARD", key .. ":retry"))
      add(3, redis.call("XLEN", key .. ":parked"))
      add(4, dropped)
      add(5, forgotten)
    end
  end
  return { tonumber(page[1]), left > 0 and 0 or 1, unpack(sum) }
end

register { function_name = PREFIX .. "hooks_sweep", callback = sweep, flags = { "allow-oom" } }
