-- beat: a worker shows that it lives. A function and not a plain HINCRBY, because that is refused
-- when memory is full, and then nobody would apply what frees it.
--
-- KEYS   1 hash of workers
-- ARGV   this worker's field
-- Returns all fields and counters, this worker's after the beat.

local function beat(keys, args)
  redis.call("HINCRBY", keys[1], args[1], 1)
  return redis.call("HGETALL", keys[1])
end

register { function_name = PREFIX .. "beat", callback = beat, flags = { "allow-oom" } }
