-- Open conversations in which nothing happens but messages: the quick way of most of what is said.
--
-- What a message changes of its conversation is then kept in one hash for all conversations of a site, so that a call
-- reads and writes it once for all of its messages:
--   S talks   conversation -> "<mark> <seq> <last> <messages of a> <messages of b> <idle>"
-- The first message moves it there from conv:<id> (D.hold). It is moved back (D.let_go) before a transition
-- gets at anything that a message's way rests on: D.conv_key and D.user_key, from which alone the keys of
-- a conversation and of a user can be had, see to it of that conversation, or of those that user is in. So what
-- somebody has seen of a conversation, its members, their connections, roles and other conversations holds as long
-- as its mark, the id of the message that has moved it there, stands; and who changes any of it need know nothing
-- of all this. D.quiet_conv_key, D.quiet_user_key, D.talk and D.conv are for those who change nothing of it.
--
-- A worker is told with a message's answer where the sender's next words go (D.way) and under which mark. It says
-- that with them, and transitions/message.lua takes its quick way if the mark stands. Then nothing has to be looked up: what
-- else could have changed, the sender's numbers and ids, belongs to the sender's lane, of which that worker has applied
-- all, or the log rule would refuse the entry (desk/taken.lua).

local quiet_user_key, quiet_conv_key = D.quiet_user_key, D.quiet_conv_key
local read_talk = D.talk

-- The talks of a site that a call has looked at: by conversation, false for one that is not held.
local talks_of = function(c, S)
  c.talks = c.talks or {}
  c.talks[S] = c.talks[S] or {}
  return c.talks[S]
end

-- A conversation's talk as this call has left it, or false.
D.talk = function(e, conv)
  local talks = talks_of(e.call, e.S)
  if talks[conv] == nil then talks[conv] = read_talk(e, conv) or false end
  return talks[conv]
end

-- The same of what the call has looked at ahead, by its number there.
D.talk_ahead = function(c, S, number)
  local talks, conv = talks_of(c, S), c.looked[number]
  if talks[conv] == nil then talks[conv] = D.talk_of(conv, c.found[number]) or false end
  return talks[conv]
end

-- Moves what messages change out of conv:<id>, whose values they are. `mark` is the id of the event's message.
D.hold = function(e, conv, mark, seq, last, counts, idle)
  local a, b = D.counts(counts)
  local talk = {
    id = conv, mark = mark, seq = D.number(seq), last = last, a = a, b = b, idle = idle or "-",
    said = true, -- to be saved, whatever becomes of the message
  }
  redis.call("HDEL", quiet_conv_key(e, conv), "seq", "last", "counts", "idle")
  talks_of(e.call, e.S)[conv] = talk
  e.call.let_go = {}
  return talk
end

-- Moves it back, if it is held.
D.let_go = function(e, conv)
  local talk = D.talk(e, conv)
  if not talk then return end
  local key = quiet_conv_key(e, conv)
  redis.call("HSET", key, "seq", D.int(talk.seq), "last", talk.last, "counts", D.int(talk.a) .. " " .. D.int(talk.b))
  if talk.idle ~= "-" then redis.call("HSET", key, "idle", talk.idle) end
  redis.call("HDEL", e.S .. "talks", conv)
  talks_of(e.call, e.S)[conv] = false
end

D.conv_key = function(e, conv)
  D.let_go(e, conv)
  return quiet_conv_key(e, conv)
end

D.user_key = function(e, uid)
  local key, c = quiet_user_key(e, uid), e.call
  c.let_go = c.let_go or {}
  if not c.let_go[key] then
    local conv, convs = D.get(key, "conv", "convs")
    if conv then D.let_go(e, conv) end
    for id in string.gmatch(convs or "", "%S+") do D.let_go(e, id) end
    c.let_go[key] = true
  end
  return key
end

-- What a worker may remember of a sender: where their next words go and who is told. `only`: also such words that name no
-- conversation; those of staff if it was assigned (`at`) no later than they were sent. Then when the TTL of the
-- sender's ids was set, whether there are older ones, and how many (desk/known.lua); when their bucket is full.
D.way = function(a, talk, side, only, at, since, old, count, conns, other_conns)
  return "\n" .. talk.id .. " " .. talk.mark .. " " .. side .. " " .. (only and "1 " or "0 ") .. at
    .. " " .. since .. " " .. old .. " " .. D.int(count) .. " " .. a.bucket .. "|" .. conns .. "|" .. (other_conns or "")
end

-- Writes the talks in which the call has said something, and who has said it.
D.save = function(c)
  for S, talks in pairs(c.talks or {}) do
    local kept = {}
    for conv, talk in pairs(talks) do
      if talk and talk.said then
        kept[#kept + 1] = conv
        kept[#kept + 1] = talk.mark .. " " .. D.int(talk.seq) .. " " .. talk.last .. " " .. D.int(talk.a)
          .. " " .. D.int(talk.b) .. " " .. talk.idle
      end
    end
    if #kept > 0 then redis.call("HSET", S .. "talks", unpack(kept)) end
  end
  D.save_taken(c)
end
