-- tick: advances the shard's clock and turns due timers into events. Changes no state of the App:
-- the events queue behind what the user did before.
--
-- KEYS   1 clock hash {now, seen}   2 due zset   3 moved zset
-- ARGV   shard prefix, most ms the clock may advance in one tick
-- Returns {timers fired, clock in ms}.
--
-- Called while there are timers or changed queues; without them the clock stands still, and the worker
-- gives a smaller ARGV[2] when it begins to run again.
-- The clock advances by the wall time since the last tick, at most ARGV[2]: an outage, a stopped
-- cluster or a jump of the wall clock ages nobody's conversation. Two workers ticking at once are
-- harmless for the same reason. A due member is `<kind>|<site>|<uid>|<arg>|<lane>` and becomes an event
-- `<kind>_timer`, whose field for the argument is in ARGUMENT.

local ARGUMENT = { idle = "conversation", lost = "lost" }

local function tick(keys, args)
  local time = redis.call("TIME")
  local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local now, seen = D.get(keys[1], "now", "seen")
  local passed = math.min(math.max(wall - tonumber(seen or wall), 0), tonumber(args[2]))
  now = tonumber(now or 0) + passed
  redis.call("HSET", keys[1], "now", now, "seen", wall)

  local due = redis.call("ZRANGEBYSCORE", keys[2], "-inf", now, "LIMIT", 0, L.timers)
  for _, member in ipairs(due) do
    local kind, site, uid, arg, lane =
      string.match(member, "^(%l+)|([^|]+)|([^|]+)|([^|]+)|(%d+)$")
    redis.call("ZREM", keys[2], member)
    redis.call("XADD", args[1] .. "events:" .. lane, "*", "v", 1, "site", site, "uid", uid,
      "kind", kind .. "_timer", ARGUMENT[kind], arg)
  end

  -- One chain of events at a time tells them; a chain that got lost is replaced when its mark fades.
  local moved = redis.call("ZRANGE", keys[3], 0, 0)[1]
  if moved and redis.call("SET", args[1] .. "moving", 1, "NX", "PX", L.moving_ms) then
    redis.call("XADD", args[1] .. "events:0", "*", "v", 1, "site", string.match(moved, "^[^|]+"),
      "uid", "tick", "kind", "queue_moved")
  end
  return { #due, now }
end

register { function_name = PREFIX .. "tick", callback = tick, flags = { "allow-oom" } }
