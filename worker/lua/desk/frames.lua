-- The frame that carries words.

local FRAME_FROM, FRAME_BODY, FRAME_CONV =
  '{"action":"message","payload":{"from":"', '","message":', ',"conversation":"'

-- The `message` frame of a log entry; `body` is a JSON string, nil if it was recalled. Who is no more than a
-- user of the site is named by `uid`.
D.message_frame = function(conv, from, body, entry, uid)
  local who = uid and (from .. '","uid":"' .. uid) or from
  -- As D.tail, but joined at once: each text that is made costs Redis by its bytes.
  return '{"action":"message","payload":{"from":"' .. who
    .. (body and '","message":' or '","recalled":true') .. (body or "")
    .. ',"conversation":"' .. conv .. '","seq":' .. entry.seq .. ',"id":"' .. entry.id
    .. (entry.prev and '","prev":"' .. entry.prev .. '","time":' or '","time":') .. entry.time .. "}}"
end

-- Pushes the same frame, behind its words `rest`, to connections of one gateway, in pieces: each text that is made costs
-- Redis by its bytes.
D.push_said = function(c, event, connections, side, body, conv, rest)
  local length = #FRAME_FROM + #side + #FRAME_BODY + #body + #FRAME_CONV + #conv + #rest
  local list = D.output(c, D.boot_of(connections))
  local n = #list
  list[n + 1], list[n + 2], list[n + 3], list[n + 4] = "F ", event, " ", D.int(length)
  list[n + 5], list[n + 6], list[n + 7], list[n + 8] = " ", connections, "\n", FRAME_FROM
  list[n + 9], list[n + 10], list[n + 11], list[n + 12] = side, FRAME_BODY, body, FRAME_CONV
  list[n + 13], list[n + 14], list[n + 15] = conv, rest, "\n"
end
