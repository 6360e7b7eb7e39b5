-- typing: to whom it is told that somebody types.
--
-- KEYS       1  u:<uid>; and conv:<id> and the other side's u:<uid> of the site
-- ARGV       1  prefix of the site   2  uid   3  the connection   4  conversation, "": the only one
-- Returns    {code of an error}; {"ok"}: nobody is told, for the connection is not registered (any
--            more), or the conversation has only this side; or {"ok", conversation, connections of
--            the other side}
local e, uid, client, id = { S = ARGV[1] }, ARGV[2], ARGV[3], ARGV[4]
local n, own, convs = D.get(KEYS[1], "n:" .. client, "conv", "convs")
if not n then return { "ok" } end
if id == "" then
  id = own or D.only(convs)
  if not id then return { D.count(convs) > 1 and "which_conversation" or "no_conversation" } end
end
local conv, side = D.mine(e, uid, id)
if not conv then return { side } end
local other = (conv.state == "open" or conv.state == "direct") and D.other(conv, side)
local conns = other and D.get(D.user_key(e, other), "conns")
if not conns or conns == "" then return { "ok" } end
return { "ok", id, conns }
