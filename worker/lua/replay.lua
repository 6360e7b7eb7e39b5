-- replay: appends the event of a dead letter to its lane again, as a new event, and forgets the letter. One
-- call does both, so it happens once however many operators ask for it.
--
-- KEYS   1 the shard's dead letters   2 the stream of the event's lane
-- ARGV   the letter's place, the event's id
-- Returns the new entry's place, or nil if the letter is not there (any more).
--
-- Not allow-oom: it asks for memory as any append does.

local LETTER = 4 -- event, its id, error, the error; then the event's fields

local function replay(keys, args)
  local letter = redis.call("XRANGE", keys[1], args[1], args[1])[1]
  if not letter or letter[2][2] ~= args[2] then return false end
  local place = redis.call("XADD", keys[2], "*", unpack(letter[2], LETTER + 1))
  redis.call("XDEL", keys[1], args[1])
  return place
end

register { function_name = PREFIX .. "replay", callback = replay }
