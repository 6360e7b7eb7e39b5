-- The outbox of webhooks: a delivery is kept by the same call that writes what it tells of, and nothing waits
-- for a receiver. worker/src/hooks delivers; lua/hooks.lua is what it calls.
--
-- {sNN}:hooks   site -> "<hook> <letters>;…": which types each hook of the site wants; `-` for one that is off
-- {sNN}:hooked  "<site>|<hook>" -> when there is something to deliver, in ms by Redis's clock; 0: now;
--               while somebody delivers, when their claims end
-- S hook:<id>:queue   stream, field d: what was not tried yet
-- S hook:<id>:retry   zset by time: what is being tried, or will be again; members are described in lua/hooks.lua
-- S hook:<id>:counts  hash
-- A delivery is the text "<conversation>|<seq>|<JSON>" for words, which are read from the log as they are
-- delivered, and "||<JSON>" for all else.
--
-- A call that has nothing to tell reads nothing; any other one hash, once for all of its sites.

-- "<hook> <letters>;…" as letter -> list of hooks.
local wishes = function(text)
  local wanted = {}
  for hook, letters in string.gmatch(text, "([^ ;]+) (%l+);") do
    for letter in string.gmatch(letters, "%l") do
      wanted[letter] = wanted[letter] or {}
      table.insert(wanted[letter], hook)
    end
  end
  return wanted
end

local read_hooks = function(c)
  local sites, hooks = {}, {}
  for _, shape in pairs(c.shapes) do
    if shape.site and hooks[shape.site] == nil then
      hooks[shape.site] = false
      sites[#sites + 1] = shape.site
    end
  end
  -- Whatever is wrong with webhooks must not keep a message out.
  local found = redis.pcall("HMGET", c.P .. "hooks", unpack(sites))
  for i, site in ipairs(sites) do
    if found[i] then hooks[site] = wishes(found[i]) end
  end
  return hooks
end

-- The hooks of a site that want what this letter stands for, or nil.
D.hooks_of = function(c, site, letter)
  c.hooks = c.hooks or read_hooks(c)
  local wanted = c.hooks[site]
  return wanted and wanted[letter]
end

-- The same of the event's site.
D.hooks_for = function(e, letter)
  return D.hooks_of(e.call, e.site, letter)
end

-- Keeps a delivery for some hooks until the end of the call.
D.put_out = function(e, hooks, delivery)
  local c = e.call
  c.outbox = c.outbox or {}
  for _, hook in ipairs(hooks) do
    local name = e.site .. "|" .. hook
    local box = c.outbox[name]
    if not box then
      box = { S = e.S, key = e.S .. "hook:" .. hook, name = name }
      c.outbox[name], c.outbox[#c.outbox + 1] = box, box
    end
    box[#box + 1] = delivery
  end
end

-- How many more deliveries may wait for a hook: those of a site share what the site may have.
D.hook_room = function(S, key)
  local waiting = redis.call("XLEN", key .. ":queue") + redis.call("ZCARD", key .. ":retry")
  local share = math.floor(L.site_queue / math.max(redis.call("HLEN", S .. "hooks"), 1))
  return math.max(math.min(L.hook_queue, share) - waiting, 0)
end

-- Queues deliveries of one hook, as many as there is room for; the others are dropped and counted. True if
-- whoever delivers should be told.
D.queue_out = function(P, box)
  if #box == 0 then return false end -- its hook was deleted meanwhile
  local room = math.min(D.hook_room(box.S, box.key), #box)
  for i = 1, room do
    redis.call("XADD", box.key .. ":queue", "*", "d", box[i])
  end
  if #box > room then
    redis.call("HINCRBY", box.key .. ":counts", "dropped", #box - room)
    redis.call("HINCRBY", box.key .. ":counts", "unlogged", #box - room)
  end
  if D.hook_held(box.key) then return false end
  return redis.call("ZADD", P .. "hooked", "CH", 0, box.name) == 1
end

-- Tells workers that there is something to deliver: a hint, they also look by themselves.
D.hint_hooks = function(shard)
  redis.call("PUBLISH", HOOKS_CHANNEL, shard)
end

-- Queues what the call has put out, as one of its last acts. Fails never.
D.flush_outbox = function(c)
  if not c.outbox then return end
  local done, why = pcall(function()
    local news = false
    for _, box in ipairs(c.outbox) do news = D.queue_out(c.P, box) or news end
    if news then D.hint_hooks(c.shard) end
  end)
  if not done then
    why = type(why) == "table" and why.err or tostring(why)
    redis.log(redis.LOG_WARNING, "frontdesk: webhooks were not queued: " .. why)
  end
end
