#!lua flags=allow-oom
-- heartbeat: says that a gateway lives, and that it has stopped.
--
-- Purpose    The observer of dead gateways watches a counter stand still or move; a registration has
--            no TTL, so an outage of Redis kills nobody. A boot that was declared dead, or of which
--            Redis knows nothing any more, never lives again: its users are already being taken
--            out, so it must begin anew under another boot id.
-- KEYS       1  hash of registrations: boot id -> counter, or `dead <ms>`
-- ARGV       1  boot id   2  mode
--            first  register; repeated after a lost answer it is a beat
--            beat   move the counter of a registered boot
--            stop   a clean stop: every `close` of this boot is in the log
-- Returns    the counter after this beat, from 1; `dead <ms>` for stop
-- Errors     FENCED: this boot is dead, or nobody knows it
-- allow-oom  a full memory must not look like dead gateways; one counter needs none.
local counter = redis.call('HGET', KEYS[1], ARGV[1])
local mode = ARGV[2]
if counter == false and mode == 'first' then
  counter = '0'
end
if counter == false or not string.find(counter, '^%d+$') then
  return redis.error_reply('FENCED this boot is dead or unknown')
end
if mode == 'stop' then
  local time = redis.call('TIME')
  local dead = string.format('dead %.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[1], ARGV[1], dead)
  return dead
end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
