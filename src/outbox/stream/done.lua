-- Takes the name, and for each event that is done with its part and its id.
local name = ARGV[1]
for at = 2, #ARGV, 2 do
    local key, id = name .. ':' .. ARGV[at], ARGV[at + 1]
    local event = redis.call('XRANGE', key, id, id)[1]
    redis.call('XACK', key, 'crosslink', id)
    if event then
        redis.call('XDEL', key, id)
        redis.call('DECRBY', name .. ':bytes', #event[2][2])
    end
end
return 0
