-- Pushes are collected while entries are applied and published as the call's last act, one
-- payload per gateway. The bytes are described in shared/src/push.rs.

local BOOT = 22 -- characters of a client id that name its gateway
local CLIENT = 44 -- characters of a client id

-- The gateway of a connection.
D.boot_of = function(client)
  return string.sub(client, 1, BOOT)
end

-- Kept in pieces until it is published: Redis's Lua hashes every byte of every string it makes.
D.record = function(e, kind, boot, targets, bytes)
  local out, n = e.out, #e.out
  out[n + 1] = boot
  out[n + 2] = kind .. " " .. e.id .. " " .. D.int(#bytes) .. " " .. targets .. "\n"
  out[n + 3] = bytes
end

-- A record for one connection. What is for who asks by a request is the answer, which the worker publishes.
D.push_client = function(e, kind, client, bytes)
  if client == e.asking then
    e.answer = bytes
    return
  end
  D.record(e, kind, D.boot_of(client), client, bytes)
end

-- A frame for every connection in the list `conns`, except one.
D.push_conns = function(e, conns, frame, except)
  if not conns or conns == "" then return end
  if #conns == CLIENT + 1 then -- the only one
    local client = string.sub(conns, 1, CLIENT)
    if client ~= except then D.push_client(e, "F", client, frame) end
    return
  end
  local by_boot, boots = {}, {}
  for client in string.gmatch(conns, "%S+") do
    if client ~= except then
      local boot = D.boot_of(client)
      if by_boot[boot] then
        by_boot[boot] = by_boot[boot] .. "," .. client
      else
        by_boot[boot] = client
        boots[#boots + 1] = boot
      end
    end
  end
  for _, boot in ipairs(boots) do
    D.record(e, "F", boot, by_boot[boot], frame)
  end
end

-- The head of a notice: {"action":…,"payload":{"code":…,"message":…
D.head = function(lang, key, queue)
  local pieces = (N[lang] or N["zh-CN"])[key]
  return table.concat(pieces, queue and D.int(queue) or "")
end

-- ,"seq":…,"id":…,"prev":…,"time":… of a log entry.
D.tail = function(entry)
  return ',"seq":' .. entry.seq .. ',"id":"' .. entry.id .. '"'
    .. (entry.prev and (',"prev":"' .. entry.prev .. '"') or "")
    .. ',"time":' .. entry.time
end

-- The call's output for a gateway.
D.output = function(c, boot)
  local list = c.out[boot]
  if not list then
    list = { "" } -- room for the head
    c.out[boot] = list
    c.boots[#c.boots + 1] = boot
  end
  return list
end

-- Moves what an applied entry pushed into the call's output.
D.keep = function(c, e)
  local out = e.out
  for i = 1, #out, 3 do
    local list = D.output(c, out[i])
    local n = #list
    list[n + 1], list[n + 2], list[n + 3] = out[i + 1], out[i + 2], "\n"
  end
end

-- Numbers and publishes the call's payloads, in the order in which gateways came up.
D.publish = function(c)
  for _, boot in ipairs(c.boots) do
    local counter = redis.call("HINCRBY", c.P .. "pushes", boot, 1)
    local list = c.out[boot]
    list[1] = "1 " .. c.shard .. " " .. D.int(counter) .. "\n"
    redis.call("PUBLISH", c.channel .. boot, table.concat(list))
  end
end
