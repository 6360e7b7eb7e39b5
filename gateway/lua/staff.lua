-- staff: who is on duty, the shortest queue first. Going on by a number, one may be missed or come twice where the
-- order changes in between.
--
-- KEYS       1  duty; and u:<uid>, q:<uid> of the site
-- ARGV       1  to 5: see asker.lua   6  how many to leave out   7  most of them
-- Returns    {code of an error}, or {"ok", how many are on duty, staff, …}
--            staff  {uid, name as JSON, open conversations, most of them, 1 while they are lost, customers waiting}
local why = barred()
if why or not sees_all then return { why or "wrong_role" } end
local from, limit = tonumber(ARGV[6]), tonumber(ARGV[7])
local answer = { "ok", redis.call("ZCARD", KEYS[1]) }
for _, staff in ipairs(redis.call("ZRANGE", KEYS[1], from, from + limit - 1)) do
  local name, open, max, lost = D.get(D.user_key(e, staff), "name", "open", "max", "lost")
  answer[#answer + 1] = {
    staff, name or "", tonumber(open or 0), tonumber(max or 0), lost and 1 or 0,
    redis.call("ZCARD", D.queue_key(e, staff)),
  }
end
return answer
