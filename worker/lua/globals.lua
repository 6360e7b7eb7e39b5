-- Globals as locals. To find a global costs Redis a lookup that fails, in the library's own table, and one in the table
-- behind it, and a message needs a hundred. While files are loaded most of them are not there yet, so each function
-- of the library is registered by `register`, which binds them before its first call.
local loading = redis
local globals = function()
  return redis, string, table, math, tonumber, tostring, type, ipairs, pairs, next, select, unpack, pcall, error, setmetatable
end
local redis, string, table, math, tonumber, tostring, type, ipairs, pairs, next, select, unpack, pcall, error, setmetatable

-- redis.register_function.
local register = function(definition)
  local callback = definition.callback
  definition.callback = function(keys, args)
    if not redis then
      redis, string, table, math, tonumber, tostring, type, ipairs, pairs, next, select, unpack, pcall, error, setmetatable =
        globals()
    end
    return callback(keys, args)
  end
  loading.register_function(definition)
end
