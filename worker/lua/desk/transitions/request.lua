-- request: an act of the HTTP API, which is what a frame does too, or what only programs do. Whoever asks may have
-- no connection; a key takes the place of a frame's number, so the same again is done once and has the same
-- answer. Its answer is the frame that a connection would get.
--
-- fields  prefix site uid client by role lang iat key whole act
--   and those of the act's transition; by is who asks if that is not the user of the lane; whole is a digest of
--   all that is asked
-- reads   revoked:<uid>, hook_secrets
-- writes  req:<uid>:0 and :1 (the keys of the last 256 to 512 requests, 24 to 25 h), u:<uid> {b} or, of who is not
--         here, b:<uid>; what the act writes
-- answers SAY: what the act answers, the same again for the same key;
--         error bad_token, wrong_role, rate_limited, key_reused
-- pushes  what the act pushes to connections
--
-- A refusal is an answer like any other, and is kept; not those that come before the act is looked at, since they
-- say something of who asks and when. A webhook's secret is not kept with its answer but joined to it each time, as it is
-- then. What is known is answered whatever the rate, as an ack is (desk/sent.lua).

-- What may be reached from outside, and by whom if the transition does not ask.
local ACTS = {
  message = {},
  direct = {},
  recall = {},
  mark = {},
  close_conversation = {},
  revoke = { service = true },
  hook_create = { service = true },
  hook_change = { service = true },
  hook_rotate = { service = true },
  hook_delete = { service = true },
  hook_redeliver = { service = true },
  hook_park = { service = true },
}
local TELLS_SECRET = { hook_create = true, hook_rotate = true }

local say = function(c, e, a)
  local answer = e.answer
  if TELLS_SECRET[a.act] and ACTS[a.act][a.role] then answer = D.with_secret(c, e, answer) end
  return "SAY " .. a.client .. " " .. answer
end

-- A user has one role: what the newest token says. Open mode has no tokens, and believes what it is told.
local barred = function(e, a, asker, role)
  if D.is_revoked(e, asker, a.iat) then return "bad_token" end
  if a.iat and role and role ~= a.role then return "wrong_role" end
end

-- Takes a token of the asker's bucket, which is also that of their connections. Of who is not here it is kept
-- until it would be full again.
local hurries = function(c, e, a, asker, is_here, bucket)
  local key = not is_here and e.S .. "b:" .. asker
  if key then bucket = redis.call("GET", key) end
  local full, wait = D.take_token(c, e, bucket)
  if wait then
    D.limited(e, a, a.lang, wait)
  elseif key then
    local full_in = math.ceil(tonumber(full) / 1000) - tonumber(e.time)
    redis.call("SET", key, full, "PX", D.int(full_in + L.bucket_ms))
  else
    redis.call("HSET", D.quiet_user_key(e, asker), "b", full)
  end
  return wait
end

-- Does it. What is acknowledged to a connection is the answer here; `waiting`: the words are kept for the staff.
local act = function(c, e, a)
  local result = T[a.act](c, e, a)
  if not result then return end
  local conv, seq, id, time = string.match(result, "^ACK %S+ %S+ (%S+) (%d+) (%S+) (%d+)$")
  e.answer = '{"action":"ack","payload":{"conversation":"' .. conv .. '","seq":' .. seq
    .. ',"id":"' .. id .. '","time":' .. time .. (e.answer and ',"waiting":true' or "") .. "}}"
end

T.request = function(c, e, a)
  local may, asker = ACTS[a.act], a.by or e.uid
  e.asking, e.role = a.client, a.role
  local role, bucket = D.get(D.quiet_user_key(e, asker), "role", "b")
  local why = barred(e, a, asker, role)
  if why then
    D.refuse(e, a, a.lang, why)
    return say(c, e, a)
  end
  local known, note = D.known(e, "req", asker, a.key)
  if known then
    local whole, answer = string.match(known, "^(%S+) (.+)$")
    if whole ~= a.whole then answer = D.head(a.lang, "key_reused") .. "}}" end
    e.answer = answer
    return say(c, e, a)
  end
  if hurries(c, e, a, asker, role, bucket) then return say(c, e, a) end
  if next(may) and not may[a.role] then
    D.refuse(e, a, a.lang, "wrong_role")
  else
    act(c, e, a)
  end
  D.remember(e, "req", asker, a.key, a.whole .. " " .. e.answer, note)
  return say(c, e, a)
end
