-- Entries of conversations' logs as reads return them:
--   {seq, id, time, kind, from, uid, value, recalled (0 or 1)}
-- The value of a recalled message is "" for those who may not see it: it does not leave Redis.

local COST = 200 -- what an entry takes in a frame beside its values
local KINDS = { message = true, assigned = true, ended = true, requeued = true, recalled = true }

-- Which of these raw entries are recalled messages: seq -> true.
local function recalled_among(conv, gone_key, raws)
  local gone, seqs = {}, {}
  if tonumber(conv.recalls or 0) == 0 or #raws == 0 then return gone end
  for i, raw in ipairs(raws) do seqs[i] = string.match(raw[1], "^%d+") end
  for i, mark in ipairs(redis.call("HMGET", gone_key, unpack(seqs))) do
    if mark then gone[seqs[i]] = true end
  end
  return gone
end

-- A raw entry of a stream as it is returned, and how many bytes it takes in a frame. `keeps`: a
-- recalled message keeps its text.
local function shaped(raw, gone, keeps)
  local seq, fields = string.match(raw[1], "^%d+"), raw[2]
  local entry = { seq, "", "", "", "", "", "", 0 }
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if name == "id" then
      entry[2] = value
    elseif name == "time" then
      entry[3] = value
    elseif name == "from" then
      entry[5] = value
    elseif name == "uid" then
      entry[6] = value
    elseif KINDS[name] then
      entry[4], entry[7] = name, value
    end
  end
  if entry[4] == "message" and gone[seq] then
    entry[8] = 1
    if not keeps then entry[7] = "" end
  end
  return entry, #entry[2] + #entry[6] + #entry[7] + COST
end
