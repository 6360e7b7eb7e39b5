-- parked: deliveries of a webhook that are not tried any more, the last parked first.
--
-- KEYS       1  hooks   2  hook:<id>:parked, of the site
-- ARGV       1  to 5: see asker.lua   6  which webhook   7  the place to go on from, exclusive; "" from the newest
--            8  most deliveries
-- Returns    {code of an error}, or {"ok", more (0 or 1), {place, delivery, attempts, why}, …}; what a
--            delivery is: worker/lua/outbox.lua
local why = barred()
if why or role ~= "service" then return { why or "wrong_role" } end
if not redis.call("HGET", KEYS[1], ARGV[6]) then return { "no_webhook" } end
local from, limit = ARGV[7] == "" and "+" or "(" .. ARGV[7], tonumber(ARGV[8])
local answer = { "ok", 0 }
for i, entry in ipairs(redis.call("XREVRANGE", KEYS[2], from, "-", "COUNT", limit + 1)) do
  if i > limit then
    answer[2] = 1
    break
  end
  local fields = {}
  for n = 1, #entry[2], 2 do fields[entry[2][n]] = entry[2][n + 1] end
  answer[#answer + 1] = { entry[1], fields.d or "", fields.attempts or "0", fields.why or "" }
end
return answer
