-- Senders whose words go the quick way (desk/talks.lua): what each message changes of them is kept in one hash for all
-- senders of a site, so that a call writes it once for all of its messages:
--   S taken   uid -> "<client> <n> <bucket>[ <client> <n>…]": in place of u:<uid> {n:<client>, b}
-- Only entries of the user's own lane change these, so whatever comes there and does not go the quick way finds
-- them where they belong: they are put back before its transition runs. (Who asks in the lane of somebody else,
-- transitions/request.lua, takes a token of the bucket that is in u:<uid>, and may have it again.)

-- What this call has taken of a site's senders: by uid, false for who has nothing there.
local taken_of = function(c, S)
  c.taken = c.taken or {}
  c.taken[S] = c.taken[S] or {}
  return c.taken[S]
end

-- Frame n of a connection is taken. `rest`: when the sender's bucket is full then, and the last frames of their other
-- connections.
D.take_quickly = function(c, S, uid, client, n, rest)
  taken_of(c, S)[uid] = client .. " " .. n .. " " .. rest
end

D.before = function(c, e)
  local taken = taken_of(c, e.S)
  local text = taken[e.uid]
  if text == nil then text = redis.call("HGET", e.S .. "taken", e.uid) end
  if not text then return end
  local client, n, bucket, others = string.match(text, "^(%S+) (%d+) (%d+)(.*)$")
  local fields = { "n:" .. client, n, "b", bucket }
  for other, number in string.gmatch(others, "(%S+) (%d+)") do
    fields[#fields + 1] = "n:" .. other
    fields[#fields + 1] = number
  end
  redis.call("HSET", D.quiet_user_key(e, e.uid), unpack(fields))
  redis.call("HDEL", e.S .. "taken", e.uid)
  taken[e.uid] = false
end

-- Writes what the call has taken and not put back.
D.save_taken = function(c)
  for S, taken in pairs(c.taken or {}) do
    local kept = {}
    for uid, text in pairs(taken) do
      if text then
        kept[#kept + 1] = uid
        kept[#kept + 1] = text
      end
    end
    if #kept > 0 then redis.call("HSET", S .. "taken", unpack(kept)) end
  end
end
