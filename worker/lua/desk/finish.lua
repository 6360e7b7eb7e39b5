-- How conversations, queues and users end.

-- What each side is told, by reason: {to the customer, to the staff}.
local TELL = {
  customer_left = { "customer_left", "customer_left" },
  closed = { "closed", "closed" },
  timeout = { "timeout", "customer_timeout" },
  staff_offline = { "staff_offline", nil },
  unanswered = { "queue_close.staff_offline", nil },
  queue_staff_offline = { "queue_close.staff_offline", nil },
}

-- Forgets a user who has no connection, no conversation and no duty, and is not awaited.
D.forget_if_gone = function(e, uid)
  local conns, conv, duty, lost = D.get(D.user_key(e, uid), "conns", "conv", "duty", "lost")
  if (not conns or conns == "") and not conv and not duty and not lost then
    redis.call("DEL", D.user_key(e, uid))
  end
end

-- Takes a conversation off a staff member's list.
D.release = function(e, staff, conv)
  local key = D.user_key(e, staff)
  local open, convs = D.get(key, "open", "convs")
  redis.call("HSET", key, "open", tonumber(open) - 1, "convs", D.without(convs, conv))
  D.place_staff(e, staff)
end

-- Ends a conversation, waiting or open, and tells both sides. Free places are filled by the caller.
D.finish = function(c, e, conv, reason)
  local key = D.conv_key(e, conv)
  local state, customer, staff, recalls = D.get(key, "state", "customer", "staff", "recalls")
  local conns, lang, lane, queue, left =
    D.get(D.user_key(e, customer), "conns", "lang", "lane", "queue", "left")
  if state == "waiting" then
    D.dequeue(c, e, customer, queue)
  else
    D.release(e, staff, conv)
  end
  if state == "open" or left then
    redis.call("ZREM", c.P .. "due", D.timer(e, "idle", customer, conv, lane))
  end
  redis.call("HSET", key, "state", "ended", "ended", e.time)
  redis.call("HDEL", D.user_key(e, customer), "conv", "left")
  local entry = D.log(e, conv, "system", e.uid, "ended", reason)
  redis.call("PEXPIRE", key, c.settings.retention_ms)
  redis.call("PEXPIRE", D.log_key(e, conv), c.settings.retention_ms)
  if recalls then redis.call("PEXPIRE", D.gone_key(e, conv), c.settings.retention_ms) end
  D.list(c, e, customer, conv)
  if state == "open" then D.list(c, e, staff, conv) end

  local rest = ',"conversation":"' .. conv .. '"' .. D.tail(entry) .. "}}"
  D.push_conns(e, conns, D.head(lang, TELL[reason][1]) .. rest)
  if state == "open" and TELL[reason][2] then
    local s_conns, s_lang = D.get(D.user_key(e, staff), "conns", "lang")
    D.push_conns(e, s_conns, D.head(s_lang, TELL[reason][2]) .. rest)
  end
  c.touched = c.touched + 2
  if left then D.forget_site(c, e) end
  D.forget_if_gone(e, customer)
end
