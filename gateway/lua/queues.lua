-- queues: how many wait where, and who has waited longest.
--
-- KEYS       1  duty   2  waiting; and q:<queue>, u:<uid>, of the site
-- ARGV       1  to 5: see asker.lua   6  how many staff to leave out   7  most of them
--            8  most of those who have waited longest
-- Returns    {code of an error}, or {"ok", Redis's time in ms, how many are on duty, how many wait, in the shared
--            queue, with left messages, {{staff, how many wait for them}, …}, {{customer, conversation}, …}}
-- A conversation's name says when it began, and so since when its customer has waited.
local why = barred()
if why or not sees_all then return { why or "wrong_role" } end
local from, limit, most = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call("TIME")
local queues, longest = {}, {}
for i, staff in ipairs(redis.call("ZRANGE", KEYS[1], from, from + limit - 1)) do
  queues[i] = { staff, redis.call("ZCARD", D.queue_key(e, staff)) }
end
for i, customer in ipairs(redis.call("ZRANGE", KEYS[2], 0, most - 1)) do
  longest[i] = { customer, redis.call("HGET", D.user_key(e, customer), "conv") or "" }
end
return {
  "ok", string.format("%.0f", time[1] * 1000 + math.floor(time[2] / 1000)), redis.call("ZCARD", KEYS[1]),
  redis.call("ZCARD", KEYS[2]), redis.call("ZCARD", D.queue_key(e, "-")), redis.call("ZCARD", D.queue_key(e, "+")),
  queues, longest,
}
