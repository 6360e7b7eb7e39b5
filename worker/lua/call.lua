-- What a call of the apply script is given beside its entries; lua/apply.lua says what that is.

-- Texts, each with its length before it.
D.unpack_texts = function(packed)
  local texts, at = {}, 1
  while at <= #packed do
    local length, from = string.match(packed, "^(%d+):()", at)
    at = from + tonumber(length)
    texts[#texts + 1] = string.sub(packed, from, at - 1)
  end
  return texts
end

-- What is made of a packed text is kept for later calls, which mostly say the same. Read only.
local kept, how_many = {}, 0
local function unpacked(packed, make)
  local made = kept[packed]
  if not made then
    if how_many == L.kept then kept, how_many = {}, 0 end
    made = make(D.unpack_texts(packed))
    kept[packed], how_many = made, how_many + 1
  end
  return made
end

local function make_settings(texts)
  local settings = {}
  for i = 1, #texts, 2 do settings[texts[i]] = texts[i + 1] end
  return settings
end

local function make_shape(texts)
  local shape = { run = T[texts[1]], transition = texts[1], side = texts[4], count = #texts - 4, at = {} }
  -- Without them no key can be made.
  if texts[2] ~= "" and texts[3] ~= "" then shape.site, shape.S = texts[2], texts[3] end
  for i = 5, #texts do
    shape[i - 4] = texts[i]
    shape.at[texts[i]] = i - 4
  end
  -- With a hint there is a side, and what stands from `mark` on is for the quick way alone.
  local hinted = shape.side ~= ""
  shape.own = hinted and shape.at.mark - 1 or shape.count
  shape.quick = hinted and Q[texts[1]] or nil
  return shape
end

-- Reads the lanes of the call and what is applied of them. Returns where the entries begin.
local function read_lanes(c, keys, args, at)
  local numbers, lanes = {}, {}
  for i = 1, #keys - 1 do
    numbers[i] = args[at]
    lanes[i] = {
      number = args[at], count = tonumber(args[at + 1]), newest = args[at + 2],
      stream = keys[i + 1], prefix = c.shard .. "." .. args[at] .. ".",
    }
    at = at + 3
  end
  local applied = redis.call("HMGET", c.applied, unpack(numbers))
  for i, lane in ipairs(lanes) do
    lane.before = applied[i] or "0-0"
    lane.last = lane.before
  end
  c.lanes = lanes
  return at
end

-- Reads what the App looks at for all entries at once: `c.looked` has the names by their number, as text, and
-- `c.found` the values. Returns where the next part begins.
local function look(c, args, at)
  local hashes, n = tonumber(args[at]), 0
  at = at + 1
  for _ = 1, hashes do
    local count = tonumber(args[at + 1])
    local values = redis.call("HMGET", args[at], unpack(args, at + 2, at + 1 + count))
    for i = 1, count do
      local number = D.int(n + i)
      c.looked[number], c.found[number] = args[at + 1 + i], values[i]
    end
    at, n = at + 2 + count, n + count
  end
  return at
end

-- The time is asked for where it is needed, once.
local CALL = { __index = function(c, name)
  if name ~= "now" then return nil end
  local time = redis.call("TIME")
  c.now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  return c.now
end }

-- A call: what is the same for all of its entries, and what they leave to its end. Also returns where the entries begin.
D.call = function(keys, args)
  local c = setmetatable({
    P = args[1], shard = args[2], channel = args[3],
    settings = unpacked(args[4], make_settings),
    applied = keys[1],
    shapes = {}, looked = {}, found = {}, out = {}, boots = {}, touched = 0,
  }, CALL)
  local shapes = tonumber(args[5])
  for i = 1, shapes do c.shapes[D.int(i)] = unpacked(args[5 + i], make_shape) end
  return c, read_lanes(c, keys, args, look(c, args, 6 + shapes))
end
