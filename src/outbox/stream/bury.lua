-- Takes the name, the most bytes of dead letters, an id and its letter; gives 0 if there is no room for it.
local name, most, id, letter = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local more = #letter - redis.call('HSTRLEN', name .. ':dead', id)
if tonumber(redis.call('GET', name .. ':dead:bytes') or '0') + more > most then
    return 0
end
redis.call('HSET', name .. ':dead', id, letter)
redis.call('INCRBY', name .. ':dead:bytes', more)
return 1
