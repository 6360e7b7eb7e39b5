-- What webhooks are told of conversations; docs/WEBHOOKS.md says it to receivers. Called where an entry is
-- appended to a log, and where somebody joins a queue, which has no entry.
--
-- The words of a message are not in the delivery: it names their place in the log. So they are kept once, nothing of
-- them outlives the conversation, and what was recalled meanwhile is not told any more.

local TYPE = {
  q = "conversation.queued", s = "conversation.started", t = "conversation.transferred",
  e = "conversation.ended", m = "message.created", r = "message.recalled",
}
-- By kind of entry; `assigned` is s the first time and t after that.
local LETTER = { message = "m", recalled = "r", ended = "e", requeued = "q" }

local field = function(name, value)
  return value and ',"' .. name .. '":"' .. value .. '"' or ""
end

-- What is special of a kind of entry, after `"customer":…`.
local about = {
  ended = function(e, conv, reason)
    local customer, staff = D.get(D.quiet_conv_key(e, conv), "customer", "staff")
    return '"customer":"' .. customer .. '"' .. field("staff", staff) .. field("reason", reason)
  end,
  requeued = function(e, conv, reason)
    return '"customer":"' .. D.get(D.quiet_conv_key(e, conv), "customer") .. '"' .. field("reason", reason)
  end,
  recalled = function(e, conv, of)
    return '"of":' .. of .. field("of_id", D.entry(e, conv, of).id)
  end,
  message = function() return "" end,
}

local put = function(e, hooks, letter, id, conv, seq, from, uid, data)
  local json = '{"id":"' .. id .. '","type":"' .. TYPE[letter] .. '","site":"' .. e.site
    .. '","time":' .. e.time .. ',"conversation":"' .. conv .. '"' .. (seq and ',"seq":' .. seq or "")
    .. ',"from":"' .. from .. '","uid":"' .. uid .. '","data":{' .. data .. "}}"
  D.put_out(e, hooks, (letter == "m" and conv .. "|" .. seq or "|") .. "|" .. json)
end

-- An assignment: the first one of a conversation starts it.
local tell_assigned = function(e, conv, entry, staff, customer)
  if not (D.hooks_for(e, "s") or D.hooks_for(e, "t")) then return end
  local past = D.get(D.quiet_conv_key(e, conv), "past")
  local letter = past and "t" or "s"
  local hooks = D.hooks_for(e, letter)
  if not hooks then return end
  local data = '"customer":"' .. customer .. '"' .. field("staff", staff)
    .. field("previous", past and string.match(past, "(%S+) $"))
  put(e, hooks, letter, entry.id, conv, entry.seq, "system", staff, data)
end

-- An entry of a conversation's log, as D.append has written it.
D.tell_hooks = function(e, conv, entry, from, uid, kind, value)
  if kind == "assigned" then return tell_assigned(e, conv, entry, uid, value) end
  local letter = LETTER[kind]
  local hooks = D.hooks_for(e, letter)
  if hooks then
    put(e, hooks, letter, entry.id, conv, entry.seq, from, uid, about[kind](e, conv, value))
  end
end

-- The event's user has begun a conversation in a queue: `reason` is new, or left where nobody is on duty.
D.tell_queued = function(e, conv, reason)
  local hooks = D.hooks_for(e, "q")
  if hooks then
    local data = '"customer":"' .. e.uid .. '"' .. field("reason", reason)
    put(e, hooks, "q", conv, conv, nil, "system", e.uid, data)
  end
end
