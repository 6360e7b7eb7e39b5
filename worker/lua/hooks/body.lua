-- hook_body: what a delivery that was taken says, asked for when it is sent: it may have waited for others of its
-- conversation, or for a slot, and what was recalled or changed meanwhile counts. The claim begins anew, so that
-- nobody else takes it while it is sent.
--
-- KEYS   1 S hooks
-- ARGV   prefix of the shard, of the site, site, hook, member of `retry`
-- Returns {}, if it is not to be sent now, since it is not claimed any more or the hook is off or gone; else {the hook's JSON,
-- its secrets, body}

-- Words come from the log as it is now.
local body_of = function(S, delivery)
  local conv, seq, json = string.match(delivery, "^([^|]*)|([^|]*)|(.*)$")
  if conv == "" then return json end
  local place, data = seq .. "-0", '"expired":true'
  local entry = redis.call("XRANGE", S .. "log:" .. conv, place, place)[1]
  local fields = entry and D.fields(entry) or {}
  if redis.call("HGET", S .. "gone:" .. conv, seq) then
    data = '"recalled":true'
  elseif fields.message and fields.id == string.match(json, '^{"id":"([^"]*)"') then
    data = '"message":' .. fields.message
  end
  return string.sub(json, 1, -3) .. data .. "}}"
end

local body = function(keys, args)
  local P, S, hook, member = args[1], args[2], args[4], args[5]
  local config, retry, now = redis.call("HGET", keys[1], hook), S .. "hook:" .. hook .. ":retry", D.now_ms()
  local claimed = tonumber(redis.call("ZSCORE", retry, member) or 0)
  if not D.hook_is_on(config) or claimed <= now then return {} end
  redis.call("ZADD", retry, "XX", D.int(math.max(claimed, now + L.hook_claim_ms)), member)
  local secrets = redis.call("HGET", P .. "hook_secrets", args[3] .. "|" .. hook) or ""
  local _, _, delivery = D.hook_member(member)
  return { config, secrets, body_of(S, delivery) }
end

-- Not marked as without writes: a server that was demoted shall not answer it.
register { function_name = PREFIX .. "hook_body", callback = body, flags = { "allow-oom" } }
