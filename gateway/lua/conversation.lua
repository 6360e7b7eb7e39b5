-- conversation: one conversation, for one of its sides or who may see all of the site.
--
-- KEYS       1  conv:<id>; and log:<id>, gone:<id>, u:<uid>, q:<queue> of the site
-- ARGV       1  to 5: see asker.lua   6  conversation   7  "1": recalled messages keep their text
-- Returns    {code of an error}, or {"ok", conversation (see described.lua), uid of side a, uid of side b}; "" for
--            nobody
local id = ARGV[6]

local why = barred()
if why then return { why } end
local conv = D.conv(e, id)
if not conv then return { "no_conversation" } end
if not sees_all and not D.reader(conv, uid) then return { "forbidden" } end
local item = described(conv, id, ARGV[7] == "1")
if not D.reader(conv, uid) then item[3] = "" end
return { "ok", item, conv.customer or conv.a or "", conv.staff or conv.b or "" }
