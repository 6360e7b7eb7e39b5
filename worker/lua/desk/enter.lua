-- How every verb of a connection begins, and how it is refused. A verb may also be the act of a request of
-- the HTTP API (transitions/request.lua), which has said then who asks: e.asking, their address, and e.role.
-- It has no number, and its rate was looked at; what is pushed to that address is its answer.

-- Takes frame a.n of the connection if it is the next one. Writes nothing.
-- Returns true, or nil after telling the gateway to close the socket (retryably): a frame before
-- this one was lost, or the connection is not registered.
D.is_next = function(e, a, n)
  if e.asking then return true end
  if n and D.number(a.n) == D.number(n) + 1 then return true end
  D.push_client(e, "C", a.client, "4004")
  return nil
end

-- Records that the frame was taken, and the token for it.
D.take = function(e, a)
  if e.asking then return end
  local key, field = D.quiet_user_key(e, e.uid), "n:" .. a.client
  if a.bucket then
    redis.call("HSET", key, field, a.n, "b", a.bucket)
  else
    redis.call("HSET", key, field, a.n)
  end
end

local answer_error = function(e, a, lang, code, rest)
  D.take(e, a)
  local ref = a.id and (',"ref":"' .. a.id .. '"') or ""
  D.push_client(e, "F", a.client, D.head(lang, code) .. ref .. rest .. "}}")
end

-- Answers that it came too fast, and when to send it again.
D.limited = function(e, a, lang, wait)
  answer_error(e, a, lang, "rate_limited", ',"retry_after_ms":' .. D.int(wait))
end

-- Takes the frame and answers it with an `error`; `ref` is the sender's id of the frame, `field` which
-- of its fields is at fault.
D.refuse = function(e, a, lang, code, field)
  answer_error(e, a, lang, code, field and (',"field":"' .. field .. '"') or "")
end

-- Takes a token out of a bucket. `b` is when it will be full again, in us by the time of events. Returns when then,
-- to be written by who takes what was asked; or nil, and in how many ms there will be a token.
D.take_token = function(c, e, b)
  c.rate_us = c.rate_us or tonumber(c.settings.rate_us)
  c.rate_ahead_us = c.rate_ahead_us or tonumber(c.settings.rate_ahead_us)
  local now = tonumber(e.time) * 1000
  local full = math.max(tonumber(b or 0), now)
  local wait = full - now - c.rate_ahead_us
  if wait > 0 then return nil, math.ceil(wait / 1000) end
  return D.int(full + c.rate_us)
end

-- The same from the user's bucket, which is theirs on all devices: the field `b` of u:<uid>, written when the
-- frame is taken. True if there was none: then the frame is taken and refused.
D.too_fast = function(c, e, a, lang, b)
  if e.asking then return false end
  local bucket, wait = D.take_token(c, e, b)
  if wait then D.limited(e, a, lang, wait) end
  a.bucket = bucket
  return wait ~= nil
end

-- Which of their open conversations a staff member means: the named one, or the only one, if it
-- was assigned no later than the event (they cannot have meant one that they had not seen).
-- Returns the conversation, or nil and the error code.
D.meant = function(e, a, convs)
  if a.conversation then
    if D.has(convs, a.conversation) then return a.conversation end
    return nil, "no_conversation"
  end
  local conv = D.only(convs)
  if not conv then return nil, D.count(convs) == 0 and "no_conversation" or "which_conversation" end
  local at = redis.call("HGET", D.quiet_conv_key(e, conv), "at")
  if tonumber(at) > tonumber(e.time) then return nil, "which_conversation" end
  return conv
end

-- Answers who asks by a request, where a connection would be told nothing.
D.answer = function(e, a, frame)
  if e.asking then D.push_client(e, "F", a.client, frame) end
end
