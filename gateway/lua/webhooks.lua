-- webhooks: those of the asker's site, and how each stands.
--
-- KEYS       1  hooks; and hook:<id>:…, of the site
-- ARGV       1  to 5: see asker.lua   6  which one, or "" for all
-- Returns    {code of an error}, or {"ok", {id, its JSON, how many wait, are tried again, are parked, {what is
--            counted and its number, …}}, …}
local why = barred()
if why or role ~= "service" then return { why or "wrong_role" } end

local function described(id, config)
  local key = e.S .. "hook:" .. id
  return {
    id, config, redis.call("XLEN", key .. ":queue"), redis.call("ZCARD", key .. ":retry"),
    redis.call("XLEN", key .. ":parked"), redis.call("HGETALL", key .. ":counts"),
  }
end

if ARGV[6] ~= "" then
  local config = redis.call("HGET", KEYS[1], ARGV[6])
  if not config then return { "no_webhook" } end
  return { "ok", described(ARGV[6], config) }
end
local answer, all = { "ok" }, redis.call("HGETALL", KEYS[1])
for i = 1, #all, 2 do answer[#answer + 1] = described(all[i], all[i + 1]) end
return answer
