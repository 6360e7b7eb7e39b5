-- resume: this connection keeps its user's place when it is lost. It may take over from one that its
-- gateway does not know to be dead yet.
--
-- fields  prefix site uid client n replaces
-- writes  u:<uid> {conns, n:<client>, r:<client>}, boot:<boot>
-- pushes  C 4502 to the connection that it replaces

T.resume = function(c, e, a)
  local key = D.user_key(e, e.uid)
  local n, conns = D.get(key, "n:" .. a.client, "conns")
  if not D.is_next(e, a, n) then return end
  D.take(e, a)
  redis.call("HSET", key, "r:" .. a.client, 1)
  if a.replaces and a.replaces ~= a.client and D.has(conns, a.replaces) then
    D.disconnect(c, e, a.replaces, conns)
    D.push_client(e, "C", a.replaces, "4502")
  end
end
