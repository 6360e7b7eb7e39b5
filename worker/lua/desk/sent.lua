-- What a sender has sent: the ids of their last messages, so that the same one again is stored once and
-- gets the same ack. It is looked up before routing: where a message went was decided the first time. And before
-- the rate: that was paid the first time, and a client that sends all again after a lost socket would wait for
-- acks that are there. It is no hole: a refusal costs as much, and gateways hold each socket to the rate.

-- Whether the frame's id is known: then it is answered as it was before, or refused, and the second value is
-- what the transition returns. Else the second value is the note for D.acked.
D.sent_before = function(e, a, lang)
  if not a.id then return false end
  local sent, note = D.known(e, "sent", e.uid, a.id)
  if not sent then return false, note end
  local digest, ack = string.match(sent, "^(%S+) (.+)$")
  if digest ~= a.digest then
    D.refuse(e, a, lang, "id_reused")
    return true
  end
  D.take(e, a)
  return true, "ACK " .. a.client .. " " .. a.id .. " " .. ack
end

-- Remembers the frame's id, if it has one. Returns what the transition returns, and what D.remember does.
D.acked = function(e, a, conv, entry, note)
  if not a.id then return end
  local ack = conv .. " " .. entry.seq .. " " .. entry.id .. " " .. entry.time
  return "ACK " .. a.client .. " " .. a.id .. " " .. ack,
    D.remember(e, "sent", e.uid, a.id, a.digest .. " " .. ack, note)
end
