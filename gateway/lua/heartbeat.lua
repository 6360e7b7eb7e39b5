#!lua
-- heartbeat: says that a gateway lives.
--
-- Purpose    The observer of dead gateways watches this counter stand still or move; a registration
--            has no TTL, so an outage of Redis kills nobody.
-- KEYS       1  hash of registrations, boot id -> counter
-- ARGV       1  boot id
-- Returns    the counter after this beat, from 1
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
