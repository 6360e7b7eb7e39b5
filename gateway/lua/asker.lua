-- Who asks: the first arguments of every script that reads for somebody.
--   ARGV  1 prefix of the site   2 uid   3 role   4 the connection, "" for a request of the HTTP API
--         5 when the request's token was made, in s; "" in open mode
local e, uid, role = { S = ARGV[1] }, ARGV[2], ARGV[3]

-- Whether they may see all conversations of the site.
local sees_all = role == "supervisor" or role == "service"

-- Why they may not ask (any more), or nil. A connection must be registered: one that was revoked or replaced is
-- not, though its socket may still be there. A token must be newer than its user's revocation, and of their role.
local function barred()
  local key = D.user_key(e, uid)
  if ARGV[4] ~= "" then
    return not redis.call("HGET", key, "n:" .. ARGV[4]) and "bad_token" or nil
  end
  if ARGV[5] == "" then return nil end
  local revoked = redis.call("GET", e.S .. "revoked:" .. uid)
  if revoked and tonumber(ARGV[5]) <= tonumber(revoked) then return "bad_token" end
  local now = redis.call("HGET", key, "role")
  if now and now ~= role then return "wrong_role" end
end
