-- resume: this connection keeps its user's place when it is lost, and its client is told how everything
-- stands. It may take over from a connection that its gateway does not know to be dead yet.
--
-- fields  prefix site uid client n replaces positions
-- writes  u:<uid> {conns, n:<client>, r:<client>}, boot:<boot>
-- pushes  C 4502 to the connection that it replaces; to this one the snapshot, and a history for each
--         position; see desk/snapshot.lua

T.resume = function(c, e, a)
  local key = D.quiet_user_key(e, e.uid)
  local n, conns = D.get(key, "n:" .. a.client, "conns")
  if not D.is_next(e, a, n) then return end
  local frames, bytes = D.snapshot_frames(e, a.positions)
  D.take(e, a)
  redis.call("HSET", key, "r:" .. a.client, 1)
  if a.replaces and a.replaces ~= a.client and D.has(conns, a.replaces) then
    D.disconnect(c, e, a.replaces, conns)
    D.push_client(e, "C", a.replaces, "4502")
  end
  for _, frame in ipairs(frames) do
    D.push_client(e, "F", a.client, frame)
  end
  -- A call does not push more than a socket's queue takes, nor last long.
  c.touched = c.touched + 1 + math.floor(bytes / L.touch_bytes)
end
